//! Spans, as a collector of OpenTelemetry receives them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::Value;

use super::{built_bin, run};

/// The body of an HTTP request, which is answered with an empty object.
fn body(stream: TcpStream) -> String {
    let (mut reader, mut length) = (BufReader::new(stream), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let answer =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    String::from_utf8(body).unwrap()
}

/// The spans that the example exports.
fn exported() -> (Vec<Value>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let receiver = thread::spawn(move || {
        let mut spans = Vec::new();
        for stream in listener.incoming() {
            let body = body(stream.unwrap());
            if body == "end" {
                return spans;
            }
            let request: Value = serde_json::from_str(&body).unwrap();
            let each = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
            let scopes = each(&request, "resourceSpans").into_iter().flat_map(|spans| each(&spans, "scopeSpans"));
            spans.extend(scopes.flat_map(|scope| each(&scope, "spans")));
        }
        unreachable!("a listener listens for ever")
    });
    let lines = run(&built_bin("cachekit-otlp-example", "otlp_spans"), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    ureq::post(&endpoint).send("end").unwrap();
    (receiver.join().unwrap(), lines)
}

fn has(span: &Value, name: &str, value: &str) -> bool {
    span["attributes"].as_array().is_some_and(|attributes| {
        attributes.iter().any(|attribute| attribute["key"] == name && attribute["value"]["stringValue"] == value)
    })
}

#[test]
fn a_collector_receives_calls_flights_computations_and_operations_with_their_links() {
    let (spans, lines) = exported();
    assert_eq!(lines, ["Ada and Ada", "Ada"]);
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    let parent =
        |span: &Value| spans.iter().find(|other| other["spanId"] == span["parentSpanId"]).map(|other| &other["name"]);
    assert_eq!((named("request").len(), named("cachekit.call").len(), named("cachekit.flight").len()), (3, 2, 1));
    let (flight, compute) = (named("cachekit.flight")[0], named("cachekit.compute")[0]);
    assert_eq!(parent(flight).unwrap(), "cachekit.call");
    assert_eq!(parent(compute).unwrap(), "cachekit.flight");
    assert!(has(flight, "cachekit.miss", "new") && has(flight, "cachekit.namespace", "users"), "{flight}");
    let operations: Vec<_> = spans.iter().filter(|span| has(span, "db.system.name", "memory")).collect();
    assert!(operations.len() >= 2, "{spans:#?}");
    assert!(operations.iter().any(|span| span["name"] == "lease memory" && span["kind"] == 3), "{operations:#?}");
    let joined = *named("cachekit.call").iter().find(|span| has(span, "cachekit.outcome", "joined")).unwrap();
    assert_eq!(joined["links"][0]["spanId"], flight["spanId"], "{joined:#?}");
    assert_ne!(joined["traceId"], flight["traceId"]);
}
