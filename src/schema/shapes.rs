//! What was seen of a type so far.
//!
//! Everything that holds something else is a shape, known by the type of the visitor that reads it: structs, enums, but
//! sequences, maps and options too. A shape has parts to choose from: the variants of an enum, something or nothing for
//! the others, a single one for structs and tuples. Each part is written down once. Coming back to a known shape, a run
//! takes the way to a part not seen yet, else the shortest way out: that ends recursion.

use std::collections::HashMap;

use crate::stack::StackMark;

/// How much of a type is looked at, in values visited over all runs.
const MAX_STEPS: usize = 1 << 20;

/// How many shapes may be open at once.
const MAX_DEPTH: usize = 96;

/// With this many open, a run looks for a way out before it looks for news.
const DEEP: usize = MAX_DEPTH / 2;

const FAR: usize = usize::MAX;

/// The shapes inside one type, in the order they were met.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// Whether the type is told that its format is for people to read.
    pub(super) is_human: bool,
    pub(super) shapes: Vec<Shape>,
    by_visitor: HashMap<(&'static str, Vec<u8>), usize>,
    /// What stands outside of any shape: the type itself.
    root: Vec<u8>,
    pub(super) root_item: Option<Item>,
    samples: HashMap<Site, Sample>,
    opaque: bool,
    steps: usize,
    run: Run,
}

/// What concerns the current run only.
#[derive(Debug, Default)]
struct Run {
    stack: StackMark,
    open: Vec<Open>,
    explored: bool,
    leaf: Option<(Site, usize)>,
    failed: Option<(usize, usize)>,
    too_deep: bool,
}

#[derive(Debug)]
pub(super) struct Shape {
    pub(super) head: Vec<u8>,
    /// The names that a struct lists for its fields, or an enum for its variants.
    pub(super) names: &'static [&'static str],
    /// The number of the variant that each of the names stands for, where that could be learned.
    pub(super) numbers: Option<Vec<Option<usize>>>,
    pub(super) parts: Vec<Part>,
    /// The bytes in memory of an element of a sequence; of a key and a value of a map.
    pub(super) sizes: [usize; 2],
    /// How many choices lead from here to a part that was not seen yet.
    distance: usize,
}

/// What is read at one place of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// A value without contents, by its tag.
    Leaf(u8),
    /// Another shape.
    Shape(usize),
    /// How the contents of a variant are read: their tag, and the names of its fields.
    Contents(u8, &'static [&'static str]),
    /// By a seed that carries a state, so what is read may be another thing each time.
    Varying,
}

#[derive(Debug, Clone)]
pub(super) struct Part {
    state: State,
    tokens: Vec<u8>,
    /// What the tokens say.
    pub(super) items: Vec<Item>,
    inner: Vec<usize>,
    /// How deep the shallowest value of this part is.
    height: usize,
    /// How often it is open in this run.
    open: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unseen,
    Partial,
    Done,
    /// Led too deep; left alone until its shape has a part that does not.
    Deferred,
    /// Refuses all samples.
    Dead,
}

#[derive(Debug)]
struct Open {
    shape: usize,
    part: usize,
    records: bool,
    position: usize,
    /// Shapes further than this from the unseen are not on the way to it.
    limit: usize,
}

/// A place that holds a scalar: shape, part, position. The root has no shape.
type Site = (Option<(usize, usize)>, usize);

/// Which of the samples a place accepts, as far as is known.
#[derive(Debug, Clone, Copy)]
enum Sample {
    Try(usize),
    Exhausted,
}

impl Part {
    fn new(state: State, height: usize) -> Self {
        Self { state, tokens: Vec::new(), items: Vec::new(), inner: Vec::new(), height, open: 0 }
    }

    /// Whether a value of this part was read to its end.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }
}

/// The run cannot go on.
#[derive(Debug)]
pub(super) struct Stop;

/// What kind of shape there is to choose from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice {
    /// Nothing to choose; these are the names of the fields, if they have any.
    One(&'static [&'static str]),
    /// The first of two holds something, the second is empty.
    Maybe,
    /// One of these variants.
    Variants(&'static [&'static str]),
}

impl Shapes {
    pub(super) fn new(is_human: bool) -> Self {
        Self { is_human, ..Self::default() }
    }

    /// Prepares for the next run.
    pub(super) fn begin(&mut self) {
        self.run = Run { stack: StackMark::here(), ..Run::default() };
        for part in self.shapes.iter_mut().flat_map(|shape| &mut shape.parts) {
            part.open = 0;
        }
        self.measure();
    }

    /// Whether this run saw something for the first time.
    pub(super) fn explored(&self) -> bool {
        self.run.explored
    }

    /// Whether everything that can be reached was seen and understood.
    pub(super) fn is_complete(&self) -> bool {
        !self.opaque && self.shapes.iter().flat_map(|shape| &shape.parts).all(|part| part.state == State::Done)
    }

    /// After a failed run, arranges that the next one goes another way. `false` if there is none.
    pub(super) fn evade(&mut self) -> bool {
        if self.steps >= MAX_STEPS {
            return false;
        }
        // A type that checks itself most likely disliked the sample it was given last.
        if let Some((site, count)) = self.run.leaf.filter(|_| !self.run.too_deep) {
            let next = match self.samples.get(&site) {
                None => 1,
                Some(Sample::Try(index)) => index + 1,
                Some(Sample::Exhausted) => count,
            };
            if next < count {
                self.samples.insert(site, Sample::Try(next));
                return true;
            }
            self.samples.insert(site, Sample::Exhausted);
        }
        let Some((shape, part)) = self.run.failed else { return false };
        let state = &mut self.shapes[shape].parts[part].state;
        let defer = self.run.too_deep && matches!(state, State::Unseen | State::Partial);
        *state = if defer { State::Deferred } else { State::Dead };
        true
    }

    /// Notes a value without contents and says which of `count` samples to answer with.
    pub(super) fn leaf(&mut self, tokens: &[u8], count: usize) -> Result<usize, Stop> {
        self.step()?;
        self.note(tokens, Item::Leaf(tokens[0]));
        let top = self.run.open.last();
        let site = (top.map(|open| (open.shape, open.part)), top.map_or(0, |open| open.position));
        if count > 1 {
            self.run.leaf = Some((site, count));
        }
        match self.samples.get(&site) {
            Some(Sample::Try(index)) => Ok(*index),
            Some(Sample::Exhausted) | None => Ok(0),
        }
    }

    /// Notes that what is here cannot be looked into.
    pub(super) fn veil(&mut self) {
        self.opaque = true;
    }

    /// Opens the shape that `visitor` reads, until [`leave`](Self::leave). Gives the part chosen.
    pub(super) fn enter(&mut self, visitor: &'static str, head: &[u8], choice: Choice) -> Result<usize, Stop> {
        self.step()?;
        if self.run.open.len() >= MAX_DEPTH || self.run.stack.is_far() {
            self.run.too_deep = true;
            return Err(Stop);
        }
        let shape = self.find(visitor, head, choice);
        let mut token = vec![b'@'];
        token.extend_from_slice(&(shape as u64).to_be_bytes());
        self.note(&token, Item::Shape(shape));
        if let Some(Open { shape: outer, part, records: true, .. }) = self.run.open.last() {
            self.shapes[*outer].parts[*part].inner.push(shape);
        }
        let (part, limit) = self.choose(shape);
        let chosen = &mut self.shapes[shape].parts[part];
        let records = chosen.open == 0 && matches!(chosen.state, State::Unseen | State::Partial | State::Deferred);
        if records {
            self.run.explored |= chosen.state == State::Unseen;
            *chosen = Part::new(State::Partial, FAR);
        }
        chosen.open += 1;
        self.run.open.push(Open { shape, part, records, position: 0, limit });
        Ok(part)
    }

    /// Closes the shape opened last, which was `read` or failed.
    pub(super) fn leave(&mut self, read: bool) {
        let Some(Open { shape, part, records, .. }) = self.run.open.pop() else { return };
        self.shapes[shape].parts[part].open -= 1;
        if !read {
            if self.shapes[shape].parts.len() > 1 {
                self.run.failed.get_or_insert((shape, part));
            }
            return;
        }
        if records {
            let inner = &self.shapes[shape].parts[part].inner;
            let height = inner.iter().map(|inner| self.height(*inner)).max().unwrap_or(0).saturating_add(1);
            let done = &mut self.shapes[shape].parts[part];
            done.height = height;
            done.state = State::Done;
        }
    }

    /// Adds to the part being written down, if one is.
    pub(super) fn note(&mut self, tokens: &[u8], item: Item) {
        let Some(open) = self.run.open.last_mut() else {
            self.root.clear();
            self.root.extend_from_slice(tokens);
            self.root_item = Some(item);
            return;
        };
        open.position += 1;
        if open.records {
            let part = &mut self.shapes[open.shape].parts[open.part];
            part.tokens.extend_from_slice(tokens);
            part.items.push(item);
        }
    }

    /// Reads one place of the open part by a seed of which only this is known: it carries a state.
    pub(super) fn varying<R>(&mut self, read: impl FnOnce(&mut Self) -> R) -> R {
        let place = self.run.open.last().filter(|open| open.records);
        let place = place.map(|open| (open.shape, open.part, self.shapes[open.shape].parts[open.part].items.len()));
        let result = read(self);
        if let Some((shape, part, at)) = place
            && let Some(item) = self.shapes[shape].parts[part].items.get_mut(at)
            && !item.is_loose()
        {
            *item = Item::Varying;
        }
        result
    }

    /// Tells how many bytes an element of the open shape is in memory, or a key (0) or value (1) of it.
    pub(super) fn size(&mut self, at: usize, bytes: usize) {
        if let Some(open) = self.run.open.last() {
            self.shapes[open.shape].sizes[at] = bytes;
        }
    }

    /// Tells which numbers the variants of the open enum have, unless that is known.
    pub(super) fn number(&mut self, numbers: impl FnOnce(&[&'static str]) -> Option<Vec<Option<usize>>>) {
        let Some(open) = self.run.open.last() else { return };
        let shape = &mut self.shapes[open.shape];
        if shape.numbers.is_none() {
            shape.numbers = numbers(shape.names);
        }
    }

    /// All that was seen, unambiguously.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, &self.root);
        for shape in &self.shapes {
            push(&mut out, &shape.head);
            out.extend_from_slice(&(shape.parts.len() as u64).to_be_bytes());
            for part in &shape.parts {
                push(&mut out, &part.tokens);
            }
        }
        out
    }

    fn step(&mut self) -> Result<(), Stop> {
        self.steps += 1;
        if self.steps > MAX_STEPS { Err(Stop) } else { Ok(()) }
    }

    fn find(&mut self, visitor: &'static str, head: &[u8], choice: Choice) -> usize {
        let new = self.shapes.len();
        let index = *self.by_visitor.entry((visitor, head.to_vec())).or_insert(new);
        if index == new {
            let unseen = Part::new(State::Unseen, FAR);
            let (names, parts) = match choice {
                Choice::One(names) => (names, vec![unseen]),
                Choice::Maybe => (&[][..], vec![unseen, Part::new(State::Done, 0)]),
                Choice::Variants(names) => (names, vec![unseen; names.len()]),
            };
            self.shapes.push(Shape { head: head.to_vec(), names, numbers: None, parts, sizes: [0; 2], distance: FAR });
        }
        index
    }

    /// Which part of `shape` to take, and how far from the unseen the shapes inside may be to lead to it.
    fn choose(&self, shape: usize) -> (usize, usize) {
        let limit = self.run.open.last().map_or(FAR, |open| open.limit);
        let parts = &self.shapes[shape].parts;
        if let [_] = parts.as_slice() {
            return (0, limit);
        }
        let ends = parts.iter().any(|part| part.state == State::Done);
        let fresh = |part: &Part| match part.state {
            State::Unseen | State::Partial => part.open == 0,
            State::Deferred => part.open == 0 && ends,
            State::Done | State::Dead => false,
        };
        if (!ends || self.run.open.len() < DEEP)
            && let Some(part) = parts.iter().position(fresh)
        {
            return (part, limit);
        }
        let alive = || parts.iter().enumerate().filter(|(_, part)| part.state != State::Dead);
        if !self.run.explored {
            let near = alive().map(|(index, part)| (self.distance(part), index)).min();
            if let Some((distance, part)) = near.filter(|(distance, _)| *distance < limit) {
                return (part, distance);
            }
        }
        let done = alive().filter(|(_, part)| part.state == State::Done);
        let shallow = done.min_by_key(|(_, part)| part.height).or_else(|| alive().min_by_key(|(_, part)| part.open));
        (shallow.map_or(0, |(part, _)| part), 0)
    }

    fn height(&self, shape: usize) -> usize {
        self.shapes[shape].parts.iter().map(|part| part.height).min().unwrap_or(FAR)
    }

    fn distance(&self, part: &Part) -> usize {
        let nearest = part.inner.iter().map(|inner| self.shapes[*inner].distance).min().unwrap_or(FAR);
        nearest.saturating_add(1)
    }

    /// Finds how far each shape is from a part not seen yet, by letting the distances spread until they rest.
    fn measure(&mut self) {
        let open = |part: &Part| !matches!(part.state, State::Done | State::Dead);
        for shape in &mut self.shapes {
            shape.distance = if shape.parts.iter().any(open) { 0 } else { FAR };
        }
        loop {
            let mut rested = true;
            for index in (0..self.shapes.len()).rev() {
                let parts = self.shapes[index].parts.iter().filter(|part| part.state != State::Dead);
                let nearest = parts.map(|part| self.distance(part)).min().unwrap_or(FAR);
                if nearest < self.shapes[index].distance {
                    self.shapes[index].distance = nearest;
                    rested = false;
                }
            }
            if rested {
                return;
            }
        }
    }
}

/// Appends `bytes` behind their length.
pub(super) fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}
