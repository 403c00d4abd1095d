//! What a type asks for when it is read, as a writer can follow it.
//!
//! A codec that reads by position gives another value back where a type writes anything but what it reads. A plan is
//! the tracer's record of what is read, in a form that is compared with each step of writing.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::shapes::{Item, Part, Shape, Shapes};

/// What is read at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not known: anything may be written.
    Unknown,
    /// Whatever is there, by a format that says what it is.
    Anything,
    Unit,
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    Bytes,
    Option,
    Seq,
    Map,
    /// A struct or a tuple.
    Group,
    Enum,
}

/// A place in a plan: what is read there, and where in the plan that is described further.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    index: u32,
}

impl Place {
    /// A place of which nothing is known.
    pub(crate) const UNKNOWN: Self = Self::of(Kind::Unknown);

    pub(crate) const fn of(kind: Kind) -> Self {
        Self { kind, index: u32::MAX }
    }
}

/// A name that was compared before: names are constants, so the same one mostly comes again.
#[derive(Debug, Default)]
pub(crate) struct Seen(AtomicUsize);

impl Seen {
    #[inline]
    pub(crate) fn is(&self, name: &'static str) -> bool {
        self.0.load(Relaxed) == Self::mark(name)
    }

    pub(crate) fn learn(&self, name: &'static str) {
        self.0.store(Self::mark(name), Relaxed);
    }

    /// Place and length in one word. No two names share it: addresses do not differ in the highest byte.
    #[inline]
    fn mark(name: &'static str) -> usize {
        name.as_ptr().addr().wrapping_add(name.len().rotate_right(8))
    }
}

/// What lies inside of a place.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// The elements of a struct or tuple, key and value of a map, the element of a sequence, the value of an option,
    /// the contents of each variant by its number.
    pub(crate) inside: Vec<Inside>,
    /// The names that a struct lists, aliases among them.
    pub(crate) names: &'static [&'static str],
    /// Whether there is nothing else inside, of however many elements.
    pub(crate) is_whole: bool,
    /// The bytes in memory of an element of a sequence, or of an entry of a map.
    pub(crate) element: usize,
}

#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) place: Place,
    /// What a variant of this number is called.
    pub(crate) names: Vec<&'static str>,
    /// The name that was last found right for this place.
    pub(crate) seen: Seen,
}

/// What a type asks for.
#[derive(Debug)]
pub(crate) struct Plan {
    nodes: Vec<Node>,
    pub(crate) root: Place,
    /// Why only a format that describes itself can be read as this type.
    pub(crate) loose: Option<Loose>,
}

/// Something that can only be read from a format which says what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loose {
    /// A tag that is looked for by name, or fields among others.
    Names,
    /// A value that decides by what it finds.
    Contents,
}

impl Plan {
    #[inline]
    pub(crate) fn node(&self, place: Place) -> Option<&Node> {
        self.nodes.get(place.index as usize)
    }

    /// What was seen of a type.
    pub(super) fn of(shapes: &Shapes) -> Self {
        let mut plan = Self { nodes: Vec::new(), root: Place::UNKNOWN, loose: None };
        plan.nodes.resize_with(shapes.shapes.len(), Node::default);
        for (index, shape) in shapes.shapes.iter().enumerate() {
            plan.nodes[index] = plan.describe(shapes, shape);
        }
        plan.root = plan.place(shapes, shapes.root_item);
        let parts = shapes.shapes.iter().flat_map(|shape| &shape.parts);
        let items = parts.flat_map(|part| &part.items).chain(&shapes.root_item);
        plan.loose = items.copied().find_map(Item::loose);
        plan
    }

    fn describe(&mut self, shapes: &Shapes, shape: &Shape) -> Node {
        let whole = |part: &Part| part.is_done() && !part.items.contains(&Item::Varying);
        match kind_of_shape(shape) {
            Kind::Enum => self.variants(shapes, shape),
            Kind::Group => {
                let part = &shape.parts[0];
                let is_whole = whole(part) && !part.items.contains(&Item::Leaf(b'i'));
                Node { inside: self.inside(shapes, &part.items), names: shape.names, is_whole, element: 0 }
            }
            // Fields among others: each is looked for by name, so a map of samples is never read to its end.
            Kind::Map if shape.parts[0].items.first() == Some(&Item::Leaf(b'i')) => {
                let anything = || Inside::at(Place::of(Kind::Anything));
                Node { inside: vec![anything(), anything()], ..Node::default() }
            }
            _ => {
                let part = &shape.parts[0];
                let items = if part.is_done() { &part.items[..] } else { &[] };
                let element = shape.sizes[0].saturating_add(shape.sizes[1]);
                Node { inside: self.inside(shapes, items), names: &[], is_whole: whole(part), element }
            }
        }
    }

    fn variants(&mut self, shapes: &Shapes, shape: &Shape) -> Node {
        let mut inside: Vec<Inside> = Vec::new();
        for (at, (name, part)) in shape.names.iter().zip(&shape.parts).enumerate() {
            let number = shape.numbers.as_ref().map_or(Some(at), |numbers| numbers[at]);
            let contents = self.contents(shapes, part);
            let Some(number) = number else { continue };
            if inside.len() <= number {
                inside.resize_with(number + 1, || Inside::at(Place::UNKNOWN));
            }
            let variant = &mut inside[number];
            variant.names.push(name);
            if variant.place.kind == Kind::Unknown {
                variant.place = contents;
            }
        }
        Node { inside, names: shape.names, is_whole: true, element: 0 }
    }

    /// The place of what a variant holds.
    fn contents(&mut self, shapes: &Shapes, part: &Part) -> Place {
        let Some((Item::Contents(tag, names), items)) = part.items.split_first() else { return Place::UNKNOWN };
        match tag {
            b'u' => Place::of(Kind::Unit),
            b'N' => self.place(shapes, items.first().copied()),
            _ => {
                let is_whole = part.is_done() && !items.contains(&Item::Varying);
                let node = Node { inside: self.inside(shapes, items), names, is_whole, element: 0 };
                self.nodes.push(node);
                Place { kind: Kind::Group, index: (self.nodes.len() - 1) as u32 }
            }
        }
    }

    fn inside(&mut self, shapes: &Shapes, items: &[Item]) -> Vec<Inside> {
        items.iter().map(|item| Inside::at(self.place(shapes, Some(*item)))).collect()
    }

    /// The place that an item is read at. Newtypes leave no trace in any format.
    fn place(&mut self, shapes: &Shapes, item: Option<Item>) -> Place {
        let mut next = item;
        for _ in 0..=shapes.shapes.len() {
            let index = match next {
                Some(Item::Shape(index)) => index,
                Some(Item::Leaf(tag)) => return Place::of(kind_of_leaf(tag)),
                Some(Item::Contents(..) | Item::Varying) | None => return Place::UNKNOWN,
            };
            let shape = &shapes.shapes[index];
            if shape.head[0] != b'N' {
                return Place { kind: kind_of_shape(shape), index: index as u32 };
            }
            next = shape.parts[0].items.first().copied();
        }
        Place::UNKNOWN
    }
}

impl Item {
    /// Whether this can be read only where the format says what it is.
    pub(super) fn is_loose(self) -> bool {
        self.loose().is_some()
    }

    fn loose(self) -> Option<Loose> {
        match self {
            Self::Leaf(b'i') => Some(Loose::Names),
            Self::Leaf(tag) if kind_of_leaf(tag) == Kind::Anything => Some(Loose::Contents),
            _ => None,
        }
    }
}

impl Inside {
    fn at(place: Place) -> Self {
        Self { place, names: Vec::new(), seen: Seen::default() }
    }
}

fn kind_of_shape(shape: &Shape) -> Kind {
    match shape.head[0] {
        b'O' => Kind::Option,
        b'Q' => Kind::Seq,
        b'M' => Kind::Map,
        b'E' => Kind::Enum,
        _ => Kind::Group,
    }
}

fn kind_of_leaf(tag: u8) -> Kind {
    match tag {
        b'?' => Kind::Bool,
        b'1' => Kind::I8,
        b'2' => Kind::I16,
        b'3' => Kind::I32,
        b'4' => Kind::I64,
        b'5' => Kind::I128,
        b'6' => Kind::U8,
        b'7' => Kind::U16,
        b'8' => Kind::U32,
        b'9' => Kind::U64,
        b'a' => Kind::U128,
        b'f' => Kind::F32,
        b'd' => Kind::F64,
        b'c' => Kind::Char,
        b's' | b'S' => Kind::Str,
        b'b' | b'B' => Kind::Bytes,
        b'u' | b'U' => Kind::Unit,
        _ => Kind::Anything,
    }
}
