//! YAML text becomes documents of JSON values with the line of every field.
//!
//! JSON is read as YAML too. Everything is bounded: nesting by the parser, aliases by
//! [`MAX_ALIAS_NODES`].

use super::scalar;
use crate::FieldLines;
use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt::Write, rc::Rc};

/// Most nodes that the aliases of one document may expand to.
const MAX_ALIAS_NODES: usize = 100_000;
/// Deepest nesting, aliases expanded.
const MAX_DEPTH: usize = 256;

/// One document.
#[derive(Debug)]
pub(super) struct Document {
    /// The content; `null` when it is empty.
    pub(super) root: Node,
    /// What is wrong with it, with the line.
    pub(super) errors: Vec<(String, u32)>,
}

/// Why a text is not YAML.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Malformed {
    /// What is wrong.
    pub(super) message: String,
    /// Line, from 1.
    pub(super) line: u32,
}

/// A value and its line.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Line, from 1.
    pub(super) line: u32,
    content: Content,
    /// How many nodes it has, itself included.
    size: usize,
    /// How deep it is nested; 1 for a scalar.
    depth: usize,
}

#[derive(Clone, Debug)]
enum Content {
    Scalar(Value),
    Items(Rc<Vec<Node>>),
    Fields(Rc<Vec<Field>>),
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    line: u32,
    value: Node,
}

impl Node {
    fn scalar(line: u32, value: Value) -> Self {
        Self {
            line,
            content: Content::Scalar(value),
            size: 1,
            depth: 1,
        }
    }

    fn items(line: u32, items: Vec<Self>) -> Self {
        let size = items.iter().map(|item| item.size).sum::<usize>() + 1;
        let depth = items.iter().map(|item| item.depth).max().unwrap_or(0) + 1;
        let content = Content::Items(Rc::new(items));
        Self {
            line,
            content,
            size,
            depth,
        }
    }

    fn fields(line: u32, fields: Vec<Field>) -> Self {
        let size = fields.iter().map(|field| field.value.size).sum::<usize>() + 1;
        let depth = fields
            .iter()
            .map(|field| field.value.depth)
            .max()
            .unwrap_or(0)
            + 1;
        let content = Content::Fields(Rc::new(fields));
        Self {
            line,
            content,
            size,
            depth,
        }
    }

    /// Whether there is nothing in it.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    /// The text of a field.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match &self.field(name)?.content {
            Content::Scalar(Value::String(text)) => Some(text),
            Content::Scalar(_) | Content::Items(_) | Content::Fields(_) => None,
        }
    }

    /// The items of a field that is a list.
    pub(super) fn list(&self, name: &str) -> Option<&[Self]> {
        match &self.field(name)?.content {
            Content::Items(items) => Some(items),
            Content::Scalar(_) | Content::Fields(_) => None,
        }
    }

    /// What an object calls itself, as far as it can be read: `Service default/echo`.
    pub(super) fn label(&self) -> String {
        let metadata = self.field("metadata");
        let text = |name: &str| metadata.and_then(|metadata| metadata.text(name));
        let separator = text("namespace").map_or("", |_| "/");
        format!(
            "{} {}{separator}{}",
            self.text("kind").unwrap_or_default(),
            text("namespace").unwrap_or_default(),
            text("name").unwrap_or_default()
        )
        .trim()
        .to_owned()
    }

    fn field(&self, name: &str) -> Option<&Self> {
        match &self.content {
            Content::Fields(fields) => fields
                .iter()
                .find(|field| field.name == name)
                .map(|field| &field.value),
            Content::Scalar(_) | Content::Items(_) => None,
        }
    }

    /// The JSON value and the lines of its fields.
    pub(super) fn to_value(&self) -> (Value, FieldLines) {
        let mut lines = FieldLines::new(self.line);
        let value = self.convert(&mut String::new(), &mut lines);
        (value, lines)
    }

    fn convert(&self, path: &mut String, lines: &mut FieldLines) -> Value {
        let end = path.len();
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::Items(items) => {
                let mut array = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    // Writing to a string never fails.
                    let _ = write!(path, "[{index}]");
                    lines.insert(path.as_str(), item.line);
                    array.push(item.convert(path, lines));
                    path.truncate(end);
                }
                Value::Array(array)
            }
            Content::Fields(fields) => {
                let mut object = Map::with_capacity(fields.len());
                for field in fields.iter() {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&field.name);
                    lines.insert(path.as_str(), field.line);
                    object.insert(field.name.clone(), field.value.convert(path, lines));
                    path.truncate(end);
                }
                Value::Object(object)
            }
        }
    }
}

/// Reads all documents of a text.
///
/// # Errors
/// When the text is not YAML, or its aliases expand to too much.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, Malformed> {
    let mut composer = Composer::new(text);
    let mut documents = Vec::new();
    while let Some((event, span)) = composer.next()? {
        if matches!(event, Event::DocumentStart(..)) {
            let root = match composer.next()? {
                Some((event, span)) => composer.node(event, span)?,
                None => Node::scalar(line(span), Value::Null),
            };
            documents.push(Document {
                root,
                errors: std::mem::take(&mut composer.errors),
            });
            composer.anchors.clear();
            composer.alias_nodes = 0;
        }
    }
    Ok(documents)
}

fn line(span: Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX)
}

struct Composer<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, Node>,
    alias_nodes: usize,
    errors: Vec<(String, u32)>,
}

impl<'t> Composer<'t> {
    fn new(text: &'t str) -> Self {
        let mut options = granit_parser::Options::default();
        options.set_emit_comments(false);
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            anchors: BTreeMap::new(),
            alias_nodes: 0,
            errors: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Malformed> {
        self.parser.next().transpose().map_err(|error| Malformed {
            message: error.info(),
            line: u32::try_from(error.marker().line()).unwrap_or(u32::MAX),
        })
    }

    /// The node that starts with `event`.
    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Malformed> {
        let line = line(span);
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_ref().and_then(|tag| tag.core_suffix());
                let value = match tag {
                    Some("str") => Value::String(text.into_owned()),
                    _ if style == ScalarStyle::Plain => scalar::resolve(&text),
                    _ => Value::String(text.into_owned()),
                };
                (anchor, Node::scalar(line, value))
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.items(line)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.fields(line)?),
            Event::Alias(id) => (0, self.alias(id, line)?),
            // An empty document; the parser yields nothing else in a value's place.
            Event::DocumentEnd
            | Event::DocumentStart(..)
            | Event::StreamStart
            | Event::StreamEnd
            | Event::SequenceEnd
            | Event::MappingEnd
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_)
            | Event::Comment(..)
            | _ => (0, Node::scalar(line, Value::Null)),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, line: u32) -> Result<Node, Malformed> {
        let Some(target) = self.anchors.get(&id) else {
            return Err(Malformed {
                message: "an alias refers to the value it is part of".to_owned(),
                line,
            });
        };
        self.alias_nodes = self.alias_nodes.saturating_add(target.size);
        if self.alias_nodes > MAX_ALIAS_NODES || target.depth > MAX_DEPTH {
            return Err(Malformed {
                message: format!("aliases expand to more than {MAX_ALIAS_NODES} values"),
                line,
            });
        }
        Ok(target.clone())
    }

    fn items(&mut self, line: u32) -> Result<Node, Malformed> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            items.push(self.node(event, span)?);
        }
        Ok(Node::items(line, items))
    }

    fn fields(&mut self, start: u32) -> Result<Node, Malformed> {
        let mut fields: Vec<Field> = Vec::new();
        let mut lines: BTreeMap<String, u32> = BTreeMap::new();
        let mut merged: Vec<Node> = Vec::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let line = line(span);
            let key = self.key(event, span)?;
            let Some((event, span)) = self.next()? else {
                break;
            };
            let value = self.node(event, span)?;
            let Some((name, plain)) = key else {
                self.errors
                    .push(("a field name must be a string".to_owned(), line));
                continue;
            };
            if plain && name == "<<" {
                merged.push(value);
                continue;
            }
            if let Some(earlier) = lines.insert(name.clone(), line) {
                self.errors.push((
                    format!("field `{name}` is written twice (first on line {earlier})"),
                    line,
                ));
                continue;
            }
            fields.push(Field { name, line, value });
        }
        for node in merged {
            self.merge(&mut fields, &node);
        }
        Ok(Node::fields(start, fields))
    }

    /// The text of a field name, and whether it is written without quotes.
    fn key(&mut self, event: Event<'t>, span: Span) -> Result<Option<(String, bool)>, Malformed> {
        if let Event::Scalar(text, style, anchor, _) = &event {
            let name = text.clone().into_owned();
            if *anchor != 0 {
                let node = Node::scalar(line(span), Value::String(name.clone()));
                self.anchors.insert(*anchor, node);
            }
            return Ok(Some((name, *style == ScalarStyle::Plain)));
        }
        let node = self.node(event, span)?;
        Ok(match node.content {
            Content::Scalar(Value::String(text)) => Some((text, false)),
            Content::Scalar(_) | Content::Items(_) | Content::Fields(_) => None,
        })
    }

    /// Adds the fields of a merge key's value (`<<`) that are not there already.
    fn merge(&mut self, fields: &mut Vec<Field>, node: &Node) {
        match &node.content {
            Content::Fields(others) => {
                for other in others.iter() {
                    if !fields.iter().any(|field| field.name == other.name) {
                        fields.push(other.clone());
                    }
                }
            }
            Content::Items(items) => {
                for item in items.iter() {
                    if matches!(item.content, Content::Fields(_)) {
                        self.merge(fields, item);
                    } else {
                        self.not_mergeable(item.line);
                    }
                }
            }
            Content::Scalar(_) => self.not_mergeable(node.line),
        }
    }

    fn not_mergeable(&mut self, line: u32) {
        let message = "`<<` takes an object or a list of objects".to_owned();
        self.errors.push((message, line));
    }
}
