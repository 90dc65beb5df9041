//! Storage of header fields: ranges over the bytes they were received in, or over an arena.
//!
//! HTTP/1 fields are ranges over the received head, whose names the parser has put in lower case.
//! HTTP/2 fields are the name and value pairs of the decoder. What is added or changed is
//! copied into one arena. Nothing is allocated per field, and nothing per lookup.

use super::known::Known;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::HOST};
use std::borrow::Cow;

/// Where the bytes of a [`Span`] or [`Field`] are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// In the received head.
    Received,
    /// In the received head, and the line is exactly `name: value\r\n`, ready to be sent.
    Line,
    /// In the arena; a field is a line ready to be sent.
    Arena,
    /// In the list of HTTP/2 pairs; the name's offset is the index.
    Pair,
}

/// A piece of text of a head that is not a field: target, authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span {
    pub(super) place: Place,
    pub(super) at: u32,
    pub(super) len: u32,
}

impl Span {
    pub(super) const EMPTY: Self = Self {
        place: Place::Received,
        at: 0,
        len: 0,
    };
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    name_at: u32,
    value_at: u32,
    value_len: u32,
    name_len: u16,
    known: Known,
    place: Place,
}

impl Field {
    /// A field that stands in the received head: offsets and lengths of name and value.
    #[inline]
    pub(super) fn received(name: (usize, usize), value: (usize, usize), line: bool) -> Self {
        Self {
            name_at: offset(name.0),
            name_len: u16::try_from(name.1).unwrap_or(u16::MAX),
            value_at: offset(value.0),
            value_len: offset(value.1),
            known: Known::Other,
            place: if line { Place::Line } else { Place::Received },
        }
    }

    /// Where its name is.
    pub(super) fn name_range(&self) -> std::ops::Range<usize> {
        let at = index(self.name_at);
        at..at.saturating_add(usize::from(self.name_len))
    }

    /// The number of its name.
    pub(super) fn known(&self) -> Known {
        self.known
    }
}

/// Copies made while fields are turned into a map: the arena, once.
#[derive(Default)]
pub(super) struct Pieces {
    arena: Option<Bytes>,
}

/// The fields of a head, in order.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    received: Bytes,
    arena: Vec<u8>,
    pairs: Vec<(HeaderName, HeaderValue)>,
    list: Vec<Field>,
    /// Position of the first field of each number plus one; 0 when there is none.
    first: [u16; Known::COUNT],
}

fn offset(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn part(bytes: &[u8], at: u32, len: u32) -> &[u8] {
    let at = index(at);
    bytes.get(at..at.saturating_add(index(len))).unwrap_or(b"")
}

fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Bytes the arena has room for at first: what the gateway adds to a request.
const ARENA: usize = 320;

/// A line that is being written to the arena.
struct Line {
    name_at: u32,
    name_len: u16,
    value_at: u32,
}

impl Line {
    fn begin(arena: &mut Vec<u8>, known: Known, name: &[u8]) -> Self {
        let name_at = offset(arena.len());
        if known.text().is_empty() {
            arena.extend_from_slice(name);
            arena.extend_from_slice(b": ");
        } else {
            arena.extend_from_slice(known.prefix().as_bytes());
        }
        Self {
            name_at,
            name_len: u16::try_from(name.len()).unwrap_or(u16::MAX),
            value_at: offset(arena.len()),
        }
    }

    fn end(self, arena: &mut Vec<u8>, known: Known) -> Field {
        let value_len = offset(arena.len()).saturating_sub(self.value_at);
        arena.extend_from_slice(b"\r\n");
        Field {
            name_at: self.name_at,
            name_len: self.name_len,
            value_at: self.value_at,
            value_len,
            known,
            place: Place::Arena,
        }
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self::new(Bytes::new(), Vec::with_capacity(8))
    }
}

impl Fields {
    /// The fields of a received head whose names are in lower case.
    pub(super) fn received(received: Bytes, list: Vec<Field>) -> Self {
        let mut fields = Self::new(received, list);
        for (at, field) in fields.list.iter_mut().enumerate() {
            field.known = Known::classify(part(
                &fields.received,
                field.name_at,
                u32::from(field.name_len),
            ));
            if let Some(slot) = fields.first.get_mut(field.known.index())
                && *slot == 0
            {
                *slot = u16::try_from(at.saturating_add(1)).unwrap_or(u16::MAX);
            }
        }
        fields
    }

    /// No fields, and no room for any.
    pub(super) fn empty() -> Self {
        Self::new(Bytes::new(), Vec::new())
    }

    fn new(received: Bytes, list: Vec<Field>) -> Self {
        Self {
            received,
            arena: Vec::new(),
            pairs: Vec::new(),
            list,
            first: [0; Known::COUNT],
        }
    }

    /// The fields of a decoded HTTP/2 head.
    pub(super) fn pairs(map: HeaderMap) -> Self {
        let list = Vec::with_capacity(map.len().saturating_add(8));
        let mut fields = Self::new(Bytes::new(), list);
        fields.pairs.reserve_exact(map.len());
        for (name, value) in map {
            // A name is given once for all its values.
            let before = || fields.pairs.last().map(|(name, _)| name.clone());
            let Some(name) = name.or_else(before) else {
                continue;
            };
            let known = Known::classify(name.as_str().as_bytes());
            fields.note(known);
            fields.list.push(Field {
                name_at: offset(fields.pairs.len()),
                name_len: u16::try_from(name.as_str().len()).unwrap_or(u16::MAX),
                value_at: 0,
                value_len: offset(value.len()),
                known,
                place: Place::Pair,
            });
            fields.pairs.push((name, value));
        }
        fields
    }

    /// Remembers that the next field pushed has this number.
    #[inline]
    fn note(&mut self, known: Known) {
        if let Some(slot) = self.first.get_mut(known.index())
            && *slot == 0
        {
            *slot = u16::try_from(self.list.len().saturating_add(1)).unwrap_or(u16::MAX);
        }
    }

    fn field_name(&self, field: &Field) -> &[u8] {
        match field.place {
            Place::Received | Place::Line => {
                part(&self.received, field.name_at, u32::from(field.name_len))
            }
            Place::Arena => part(&self.arena, field.name_at, u32::from(field.name_len)),
            Place::Pair => self
                .pairs
                .get(index(field.name_at))
                .map_or(&b""[..], |(name, _)| name.as_str().as_bytes()),
        }
    }

    fn field_value(&self, field: &Field) -> &[u8] {
        match field.place {
            Place::Received | Place::Line => part(&self.received, field.value_at, field.value_len),
            Place::Arena => part(&self.arena, field.value_at, field.value_len),
            Place::Pair => self
                .pairs
                .get(index(field.name_at))
                .map_or(&b""[..], |(_, value)| value.as_bytes()),
        }
    }

    fn is(&self, field: &Field, known: Known, name: &[u8]) -> bool {
        field.known == known && (!known.text().is_empty() || self.field_name(field) == name)
    }

    /// Position of the first field of that name.
    fn position(&self, known: Known, name: &[u8]) -> Option<usize> {
        let slot = self.first.get(known.index()).copied().unwrap_or(0);
        let start = usize::from(slot).checked_sub(1)?;
        if !known.text().is_empty() {
            return Some(start);
        }
        let rest = self.list.get(start..)?;
        let found = rest.iter().position(|field| self.is(field, known, name))?;
        Some(start.saturating_add(found))
    }

    /// Whether a field of this number is present.
    #[inline]
    pub(crate) fn has(&self, known: Known) -> bool {
        self.first.get(known.index()).is_some_and(|slot| *slot != 0)
    }

    /// Whether a field whose name starts with `x-envoy-` is present, or was.
    #[inline]
    pub(super) fn has_envoy(&self) -> bool {
        Known::ENVOY.iter().any(|known| self.has(*known))
    }

    /// The first value of a field with a number.
    #[inline]
    pub(crate) fn get(&self, known: Known) -> Option<&[u8]> {
        let slot = self.first.get(known.index()).copied()?;
        let field = self.list.get(usize::from(slot).checked_sub(1)?)?;
        Some(self.field_value(field))
    }

    /// The first value of the field with this lower-case name.
    #[cfg(test)]
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        let at = self.position(Known::classify(name.as_bytes()), name.as_bytes())?;
        self.list.get(at).map(|field| self.field_value(field))
    }

    /// All values of the fields with this lower-case name, in order.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let known = Known::classify(name.as_bytes());
        self.list
            .iter()
            .skip(self.position(known, name.as_bytes()).unwrap_or(usize::MAX))
            .filter(move |field| self.is(field, known, name.as_bytes()))
            .map(|field| self.field_value(field))
    }

    /// All values of the fields with this lower-case name as one, joined with `,`.
    /// Copies only when there are several.
    pub(crate) fn joined(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let known = Known::classify(name.as_bytes());
        let start = self.position(known, name.as_bytes())?;
        let mut found = self
            .list
            .get(start..)?
            .iter()
            .filter(|field| self.is(field, known, name.as_bytes()))
            .map(|field| self.field_value(field));
        let first = found.next()?;
        let Some(second) = found.next() else {
            return Some(Cow::Borrowed(first));
        };
        let mut joined = [first, b",", second].concat();
        for value in found {
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(Cow::Owned(joined))
    }

    /// Names in lower case and values, in order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.list
            .iter()
            .filter(|field| field.known != Known::Gone)
            .map(|field| (self.field_name(field), self.field_value(field)))
    }

    /// The fields themselves, in order.
    pub(super) fn each(&self) -> impl Iterator<Item = &Field> {
        self.list.iter().filter(|field| field.known != Known::Gone)
    }

    /// A field's value as the `http` crate has it, sharing the bytes where they are.
    pub(super) fn shared_value(&self, field: &Field, pieces: &mut Pieces) -> Option<HeaderValue> {
        let at = index(field.value_at);
        let range = at..at.saturating_add(index(field.value_len));
        let bytes = match field.place {
            Place::Pair => {
                let (_, value) = self.pairs.get(index(field.name_at))?;
                return Some(value.clone());
            }
            Place::Received | Place::Line => &self.received,
            Place::Arena => pieces
                .arena
                .get_or_insert_with(|| Bytes::copy_from_slice(&self.arena)),
        };
        let shared = (range.end <= bytes.len()).then(|| bytes.slice(range))?;
        HeaderValue::from_maybe_shared(shared).ok()
    }

    /// The field at a position; those that are gone keep theirs.
    pub(super) fn nth(&self, at: usize) -> Option<Field> {
        self.list.get(at).copied()
    }

    /// A field's name and value as the `http` crate has them, moved where that can be.
    pub(super) fn take(
        &mut self,
        field: &Field,
        pieces: &mut Pieces,
    ) -> Option<(HeaderName, HeaderValue)> {
        if field.place != Place::Pair {
            return Some((self.shared_name(field)?, self.shared_value(field, pieces)?));
        }
        let pair = self.pairs.get_mut(index(field.name_at))?;
        Some(std::mem::replace(
            pair,
            (HOST, HeaderValue::from_static("")),
        ))
    }

    /// A field's name as the `http` crate has it.
    pub(super) fn shared_name(&self, field: &Field) -> Option<HeaderName> {
        if let Some(name) = field.known.header_name() {
            return Some(name);
        }
        match field.place {
            Place::Pair => self
                .pairs
                .get(index(field.name_at))
                .map(|(name, _)| name.clone()),
            Place::Received | Place::Line | Place::Arena => {
                HeaderName::from_bytes(self.field_name(field)).ok()
            }
        }
    }

    /// How many fields there are.
    pub(crate) fn len(&self) -> usize {
        self.list
            .iter()
            .filter(|field| field.known != Known::Gone)
            .count()
    }

    /// Copies a field made of these value parts into the arena, as a line.
    fn make(&mut self, known: Known, name: &[u8], value: &[&[u8]]) -> Field {
        if self.arena.capacity() == 0 {
            self.arena.reserve(ARENA);
        }
        let line = Line::begin(&mut self.arena, known, name);
        for piece in value {
            self.arena.extend_from_slice(piece);
        }
        line.end(&mut self.arena, known)
    }

    /// Adds a field at the end. `name` is in lower case.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        self.add_parts(Known::classify(name.as_bytes()), name.as_bytes(), &[value]);
    }

    fn add_parts(&mut self, known: Known, name: &[u8], value: &[&[u8]]) {
        let field = self.make(known, name, value);
        self.note(known);
        self.list.push(field);
    }

    /// Replaces all fields of this lower-case name by one, in the place of the first.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        self.put(Known::classify(name.as_bytes()), name.as_bytes(), &[value]);
    }

    /// As [`Self::set`], for a name with a number and a value in parts.
    pub(crate) fn set_known(&mut self, known: Known, value: &[&[u8]]) {
        self.put(known, known.text().as_bytes(), value);
    }

    fn put(&mut self, known: Known, name: &[u8], value: &[&[u8]]) {
        let Some(at) = self.position(known, name) else {
            self.add_parts(known, name, value);
            return;
        };
        let field = self.make(known, name, value);
        self.drop_from(at.saturating_add(1), known, name);
        if let Some(slot) = self.list.get_mut(at) {
            *slot = field;
        }
    }

    /// Appends to the field of this lower-case name as `old,new`, or adds a new field.
    /// Several fields of the name become one; `set-cookie` always becomes a new field.
    pub(crate) fn append(&mut self, name: &str, value: &[u8]) {
        self.append_parts(Known::classify(name.as_bytes()), name.as_bytes(), value);
    }

    /// As [`Self::append`], for a name with a number.
    pub(crate) fn append_known(&mut self, known: Known, value: &[u8]) {
        self.append_parts(known, known.text().as_bytes(), value);
    }

    fn append_parts(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let one_line = known != Known::SetCookie;
        let Some(at) = self.position(known, name).filter(|_| one_line) else {
            self.add_parts(known, name, &[value]);
            return;
        };
        let mut arena = std::mem::take(&mut self.arena);
        if arena.capacity() == 0 {
            arena.reserve(ARENA);
        }
        let line = Line::begin(&mut arena, known, name);
        for position in at..self.list.len() {
            let Some(field) = self.list.get(position).copied() else {
                break;
            };
            let same = field.known == known
                && (!known.text().is_empty() || self.name_in(&arena, &field) == name);
            if !same {
                continue;
            }
            match field.place {
                Place::Arena => {
                    let from = index(field.value_at);
                    arena.extend_from_within(from..from.saturating_add(index(field.value_len)));
                }
                Place::Received | Place::Line | Place::Pair => {
                    arena.extend_from_slice(self.field_value(&field));
                }
            }
            arena.push(b',');
        }
        arena.extend_from_slice(value);
        let field = line.end(&mut arena, known);
        self.arena = arena;
        self.drop_from(at.saturating_add(1), known, name);
        if let Some(slot) = self.list.get_mut(at) {
            *slot = field;
        }
    }

    fn name_in<'a>(&'a self, arena: &'a [u8], field: &Field) -> &'a [u8] {
        match field.place {
            Place::Arena => part(arena, field.name_at, u32::from(field.name_len)),
            Place::Received | Place::Line | Place::Pair => self.field_name(field),
        }
    }

    /// Removes all fields of this lower-case name.
    pub(crate) fn remove(&mut self, name: &str) {
        self.remove_bytes(Known::classify(name.as_bytes()), name.as_bytes());
    }

    /// As [`Self::remove`], for a name with a number.
    #[inline]
    pub(crate) fn remove_known(&mut self, known: Known) {
        if self.has(known) {
            self.remove_bytes(known, known.text().as_bytes());
        }
    }

    pub(super) fn remove_bytes(&mut self, known: Known, name: &[u8]) {
        let Some(at) = self.position(known, name) else {
            return;
        };
        self.drop_from(at, known, name);
        if !known.text().is_empty()
            && let Some(slot) = self.first.get_mut(known.index())
        {
            *slot = 0;
        }
    }

    /// Removes the fields whose number is chosen, whatever their name.
    pub(super) fn remove_where(&mut self, mut chosen: impl FnMut(Known) -> bool) {
        for field in &mut self.list {
            if field.known != Known::Gone && chosen(field.known) {
                if let Some(slot) = self.first.get_mut(field.known.index()) {
                    *slot = 0;
                }
                field.known = Known::Gone;
            }
        }
    }

    /// Marks fields of a name as gone, from a position on.
    fn drop_from(&mut self, start: usize, known: Known, name: &[u8]) {
        for at in start..self.list.len() {
            let Some(field) = self.list.get(at).copied() else {
                break;
            };
            if self.is(&field, known, name)
                && let Some(field) = self.list.get_mut(at)
            {
                field.known = Known::Gone;
            }
        }
    }

    /// Appends all fields as HTTP/1 lines. Neighbours that are ready to be sent are copied
    /// together.
    pub(super) fn write_lines(&self, out: &mut Vec<u8>) {
        let mut run = (Place::Line, 0, 0);
        for field in &self.list {
            if field.known == Known::Gone {
                continue;
            }
            if !matches!(field.place, Place::Line | Place::Arena) {
                self.write_run(run, out);
                run = (Place::Line, 0, 0);
                out.extend_from_slice(self.field_name(field));
                out.extend_from_slice(b": ");
                out.extend_from_slice(self.field_value(field));
                out.extend_from_slice(b"\r\n");
                continue;
            }
            if (run.0, run.2) != (field.place, field.name_at) {
                self.write_run(run, out);
                run = (field.place, field.name_at, 0);
            }
            run.2 = field
                .value_at
                .saturating_add(field.value_len)
                .saturating_add(2);
        }
        self.write_run(run, out);
    }

    /// Appends lines that follow each other: where, from, up to.
    fn write_run(&self, (place, from, to): (Place, u32, u32), out: &mut Vec<u8>) {
        let source: &[u8] = match place {
            Place::Arena => &self.arena,
            Place::Received | Place::Line | Place::Pair => &self.received,
        };
        out.extend_from_slice(part(source, from, to.saturating_sub(from)));
    }

    /// Removes the first field of a number and says where its value is, in the received head or
    /// the arena.
    pub(super) fn take_span(&mut self, known: Known) -> Option<Span> {
        let at = usize::from(self.first.get(known.index()).copied()?).checked_sub(1)?;
        let field = self.list.get(at).copied()?;
        let span = match field.place {
            Place::Received | Place::Line | Place::Arena => Span {
                place: field.place,
                at: field.value_at,
                len: field.value_len,
            },
            Place::Pair => {
                let value = self.field_value(&field).to_vec();
                self.store(&[&value])
            }
        };
        let next = self
            .list
            .iter()
            .enumerate()
            .skip(at.saturating_add(1))
            .find(|(_, other)| other.known == known)
            .map_or(0, |(next, _)| next.saturating_add(1));
        if let Some(slot) = self.first.get_mut(known.index()) {
            *slot = u16::try_from(next).unwrap_or(u16::MAX);
        }
        if let Some(field) = self.list.get_mut(at) {
            field.known = Known::Gone;
        }
        Some(span)
    }

    /// Copies text into the arena.
    pub(super) fn store(&mut self, parts: &[&[u8]]) -> Span {
        if self.arena.capacity() == 0 {
            self.arena.reserve(ARENA);
        }
        let at = offset(self.arena.len());
        for piece in parts {
            self.arena.extend_from_slice(piece);
        }
        Span {
            place: Place::Arena,
            at,
            len: offset(self.arena.len()).saturating_sub(at),
        }
    }

    /// A piece of the received head.
    pub(super) fn span(at: usize, len: usize) -> Span {
        Span {
            place: Place::Received,
            at: offset(at),
            len: offset(len),
        }
    }

    /// The text of a span.
    #[inline]
    pub(super) fn text(&self, span: Span) -> &[u8] {
        match span.place {
            Place::Received | Place::Line => part(&self.received, span.at, span.len),
            Place::Arena => part(&self.arena, span.at, span.len),
            Place::Pair => b"",
        }
    }
}
