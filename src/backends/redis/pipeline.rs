//! Pipelines: several requests in one write, and the answer to each.

use redis::{Cmd, ErrorKind, RedisError, Value};

use super::request::{Answer, Excuses, Single, told};
use super::{commands, stream};

/// Requests that travel one behind another.
#[derive(Default)]
pub(super) struct Pipeline {
    commands: redis::Pipeline,
    requests: Vec<Sent>,
}

/// A request on its way.
struct Sent {
    /// How many commands it is.
    commands: usize,
    /// What refusal of it is an answer.
    excuses: Excuses,
    /// Whether a command behind those appends a message for others.
    tells: bool,
    /// Whether each part of its answer is the answer to a task, so that an error among them is no error of the others.
    has_parts: bool,
}

impl Pipeline {
    /// Adds a request behind the others.
    pub(super) fn push(&mut self, request: Single) {
        let before = self.commands.len();
        let mut excused: Excuses = |_| false;
        match request {
            Single::Telling(request, append) => {
                self.push(*request);
                self.commands.add_command(stream::append_all(&append.stream, std::slice::from_ref(&append.message)));
                if let Some(sent) = self.requests.last_mut() {
                    sent.tells = true;
                }
                return;
            }
            Single::Store(store) => self.transaction([store.set, store.unlock]),
            Single::Atomic(commands) => self.transaction(commands),
            Single::Row(commands) => {
                for command in commands {
                    self.commands.add_command(command);
                }
            }
            Single::Read(key) => {
                self.commands.add_command(commands::on(b"GET", &key));
            }
            Single::Command(command)
            | Single::Remove(command)
            | Single::Lease(command)
            | Single::Script(_, command) => {
                self.commands.add_command(command);
            }
            Single::Look { command, excuses } => {
                self.commands.add_command(command);
                excused = excuses;
            }
        }
        let commands = self.commands.len() - before;
        self.requests.push(Sent { commands, excuses: excused, tells: false, has_parts: false });
    }

    /// Adds a command that asks for several tasks. The parts of its answer may be errors.
    pub(super) fn push_joined(&mut self, command: Cmd) {
        self.commands.add_command(command);
        self.requests.push(Sent { commands: 1, excuses: |_| false, tells: false, has_parts: true });
    }

    fn transaction(&mut self, commands: impl IntoIterator<Item = Cmd>) {
        self.commands.add_command(word("MULTI"));
        for command in commands {
            self.commands.add_command(command);
        }
        self.commands.add_command(word("EXEC"));
    }

    /// The commands.
    pub(super) fn commands(&self) -> &redis::Pipeline {
        &self.commands
    }

    /// Adds a word behind all requests, which the server says again behind all answers.
    pub(super) fn prove(&mut self, word: &str) {
        self.commands.cmd("ECHO").arg(word);
    }

    /// The answer to each request, from those to the commands.
    pub(super) fn answers(self, values: Vec<Value>) -> impl Iterator<Item = Answer> {
        let mut values = values.into_iter();
        self.requests.into_iter().map(move |Sent { commands, excuses, tells, has_parts }| {
            let answer = match has_parts {
                true => whole(values.next()),
                false => last(values.by_ref().take(commands)),
            };
            let is_told = tells && last(values.by_ref().take(1)).is_ok();
            match answer {
                Ok(_) if is_told => Ok(told()),
                Err(error) if is_refusal(&error) && excuses(&error) => Ok(Value::Nil),
                answer => answer,
            }
        })
    }
}

impl FromIterator<Single> for Pipeline {
    fn from_iter<I: IntoIterator<Item = Single>>(requests: I) -> Self {
        let mut pipeline = Self::default();
        requests.into_iter().for_each(|request| pipeline.push(request));
        pipeline
    }
}

/// The last of several answers, or the first error: what EXEC says of a command that was refused is only that. Takes
/// them all, so that the next request finds its own.
fn last(values: impl Iterator<Item = Value>) -> Answer {
    let mut last = Err(missing());
    let mut failed = None;
    for value in values {
        match value.extract_error() {
            Ok(value) => last = Ok(value),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(last, Err)
}

/// An answer with whatever it has within.
fn whole(value: Option<Value>) -> Answer {
    match value {
        Some(Value::ServerError(error)) => Err(error.into()),
        value => value.ok_or_else(missing),
    }
}

fn missing() -> RedisError {
    (ErrorKind::Parse, "an answer is missing").into()
}

/// Whether it is an answer of the server, and not the want of one.
fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

fn word(word: &str) -> Cmd {
    let mut command = Cmd::with_capacity(1, word.len());
    command.arg(word);
    command
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redis::{ServerErrorKind, cmd};

    use super::super::request::Append;
    use super::*;

    fn pipeline() -> Pipeline {
        [Single::Command(cmd("A")), Single::Atomic(vec![cmd("B"), cmd("C")]), Single::Command(cmd("D"))]
            .into_iter()
            .collect()
    }

    fn refused(line: &str) -> Value {
        redis::parse_redis_value(line.as_bytes()).unwrap()
    }

    #[test]
    fn atomic_commands_go_inside_multi_exec_and_get_one_answer() {
        let names: Vec<_> = pipeline().commands().cmd_iter().map(Cmd::get_packed_command).collect();
        assert_eq!(names, ["A", "MULTI", "B", "C", "EXEC", "D"].map(|name| cmd(name).get_packed_command()));
        let executed = Value::Array(vec![Value::Okay, Value::Int(2)]);
        let queued = || Value::SimpleString("QUEUED".into());
        let values = vec![Value::Int(1), Value::Okay, queued(), queued(), executed.clone(), Value::Int(3)];
        let answers: Result<Vec<Value>, _> = pipeline().answers(values).collect();
        assert_eq!(answers.unwrap(), [Value::Int(1), executed, Value::Int(3)]);
    }

    #[test]
    fn refused_command_is_an_error_and_the_others_keep_answers() {
        let aborted = refused("-EXECABORT Transaction discarded because of previous errors.\r\n");
        let oom = refused("-OOM command not allowed\r\n");
        let values = vec![Value::Int(1), Value::Okay, oom, Value::Okay, aborted, Value::Int(3)];
        let answers: Vec<Answer> = pipeline().answers(values).collect();
        assert_eq!(answers[1].as_ref().unwrap_err().code(), Some("OOM"));
        assert_eq!((answers[0].as_ref().unwrap(), answers[2].as_ref().unwrap()), (&Value::Int(1), &Value::Int(3)));
    }

    #[test]
    fn excused_refusal_is_nil_and_any_other_failure_is_an_error() {
        let look = |_: usize| Single::look(cmd("A"), |error| error.code() == Some("WRONGTYPE"));
        let pipeline: Pipeline = (0..4).map(look).collect();
        let values = vec![Value::Int(1), refused("-WRONGTYPE x\r\n"), refused("-NOPERM x\r\n")];
        let answers: Vec<Answer> = pipeline.answers(values).collect();
        assert_eq!((answers[0].as_ref().unwrap(), answers[1].as_ref().unwrap()), (&Value::Int(1), &Value::Nil));
        assert!(answers[2].is_err() && answers[3].is_err());
    }

    #[test]
    fn error_among_the_parts_of_a_joined_answer_stays_there() {
        let mut pipeline = pipeline();
        (0..3).for_each(|_| pipeline.push_joined(cmd("E")));
        let oom = || refused("-OOM command not allowed\r\n");
        let parts = Value::Array(vec![Value::Int(1), oom(), Value::Int(0)]);
        let executed = Value::Array(vec![Value::Okay, Value::Okay]);
        let values = vec![Value::Int(1), Value::Okay, Value::Okay, Value::Okay, executed, Value::Int(3)];
        let answers: Vec<Answer> = pipeline.answers([values, vec![parts.clone(), oom()]].concat()).collect();
        assert_eq!(answers[3].as_ref().unwrap(), &parts);
        assert_eq!(answers[4].as_ref().unwrap_err().code(), Some("OOM"), "the whole is refused");
        assert!(answers[5].is_err(), "an answer is missing");
    }

    #[test]
    fn message_behind_a_request_changes_its_answer_if_appended() {
        let append = || Arc::new(Append { stream: "users::bus".into(), message: "one".into() });
        let telling = |_: usize| Single::Command(cmd("A")).telling(Some(&append()));
        let pipeline: Pipeline = (0..3).map(telling).collect();
        assert_eq!(pipeline.commands().len(), 6);
        let (id, oom) = (|| Value::BulkString(b"1-0".to_vec()), || refused("-OOM command not allowed\r\n"));
        let values = vec![Value::Int(1), id(), Value::Int(2), oom(), oom(), id()];
        let answers: Vec<Answer> = pipeline.answers(values).collect();
        assert_eq!((answers[0].as_ref().unwrap(), answers[1].as_ref().unwrap()), (&told(), &Value::Int(2)));
        assert_eq!(answers[2].as_ref().unwrap_err().code(), Some("OOM"), "a change that failed is not told");
    }

    #[test]
    fn error_inside_exec_and_a_missing_answer_are_both_errors() {
        let inside = Value::Array(vec![Value::Okay, refused("-NOSCRIPT No matching script.\r\n")]);
        let values = vec![Value::Int(1), Value::Okay, Value::Okay, Value::Okay, inside];
        let answers: Vec<Answer> = pipeline().answers(values).collect();
        assert_eq!(answers[1].as_ref().unwrap_err().kind(), redis::ErrorKind::Server(ServerErrorKind::NoScript));
        assert!(answers[2].is_err());
    }
}
