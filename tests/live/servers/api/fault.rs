//! Answers as no server should give.

use std::time::Duration;

use super::answer::Answer;

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Another answer than the right one, and nothing done. See [`status`](Fault::status) and what follows it.
    Instead(Answer),
    /// The right answer, with these headers in place of its own; `None` leaves one out.
    Headers(Vec<(&'static str, Option<String>)>),
    /// The right answer, later.
    Late(Duration),
    /// The right answer, whose body ends before the length that was told.
    Truncated,
    /// The right answer, its body a byte at a time, at this distance.
    Drip(Duration),
    /// The right answer, its head too a byte at a time.
    DripHead(Duration),
    /// Status 200, with a body of so many bytes.
    Large(usize),
    /// Status 200, with a body that never ends.
    Endless,
    /// Status 200, with headers of so many bytes.
    HugeHeaders(usize),
    /// Bytes that are not HTTP.
    Garbage,
    /// The connection is closed without an answer, and nothing done.
    Close,
    /// The connection is closed without an answer, but what was asked for is done.
    Lost,
    /// The connection is reset with the request unread: it is not recorded. Only without [`on`](Fault::on).
    Reset,
    /// No answer, ever, and nothing done.
    Hang,
}

impl Fault {
    /// A status without more.
    pub(crate) fn status(status: u16) -> Self {
        Self::Instead(Answer::error(status, "as told"))
    }

    /// A status, and when to come again.
    pub(crate) fn retry_after(status: u16, value: &str) -> Self {
        Self::Instead(Answer::error(status, "later").with("Retry-After", value))
    }

    /// A redirect that keeps the method.
    pub(crate) fn redirect(location: &str) -> Self {
        Self::Instead(Answer::error(307, "elsewhere").with("Location", location))
    }

    /// A status and a body.
    pub(crate) fn body(status: u16, body: &str) -> Self {
        Self::Instead(Answer::new(status, "application/json", body))
    }

    /// The headers that say how fresh an entry is; `None` leaves one out.
    pub(crate) fn freshness(freshness: Option<&str>, fresh_for: Option<&str>) -> Self {
        let header = |name, value: Option<&str>| (name, value.map(str::to_owned));
        Self::Headers(vec![header("X-CacheKit-Freshness", freshness), header("X-CacheKit-Fresh-For", fresh_for)])
    }

    /// Only for requests of this method.
    pub(crate) fn on(self, method: &'static str) -> Rule {
        Rule { method: Some(method), ..Rule::from(self) }
    }

    /// Only for the next `count` requests.
    pub(crate) fn times(self, count: usize) -> Rule {
        Rule::from(self).times(count)
    }
}

/// A fault, and the requests it is for.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    fault: Fault,
    method: Option<&'static str>,
    left: usize,
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self { fault, method: None, left: usize::MAX }
    }
}

impl Rule {
    /// Only for the next `count` requests it fits.
    pub(crate) fn times(self, count: usize) -> Self {
        Self { left: count, ..self }
    }

    fn is_reset(&self) -> bool {
        matches!(self.fault, Fault::Reset)
    }

    fn use_up(&mut self) {
        self.left -= 1;
    }
}

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Rule>);

impl Faults {
    pub(super) fn push(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the next request is not even read.
    pub(super) fn take_reset(&mut self) -> bool {
        let found = self.0.first_mut().filter(|rule| rule.is_reset());
        let is_reset = found.map(Rule::use_up).is_some();
        self.0.retain(|rule| rule.left > 0);
        is_reset
    }

    /// What goes wrong with the next request of `method`.
    pub(super) fn take(&mut self, method: &str) -> Option<Fault> {
        let mut rules = self.0.iter_mut().filter(|rule| !rule.is_reset());
        let rule = rules.find(|rule| rule.method.is_none_or(|own| own == method))?;
        rule.use_up();
        let fault = rule.fault.clone();
        self.0.retain(|rule| rule.left > 0);
        Some(fault)
    }
}
