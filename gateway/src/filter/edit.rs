//! Header edits.

use super::format::{Context, Format};
use crate::http::{Known, RequestHead, ResponseHead};
use gwanmun_ir::{HeaderEdit, HeaderEdits, HeaderValue};

/// One edit of one field.
#[derive(Debug)]
pub(super) struct Edit {
    name: Box<str>,
    change: Change,
}

#[derive(Debug)]
enum Change {
    Append(Value),
    Remove,
    Set(Value),
}

#[derive(Debug)]
enum Value {
    Format(Format),
    Literal(Box<[u8]>),
}

/// Compiles edits in the order remove, set, add; `request` says which head they are for.
pub(super) fn compile(
    edits: &HeaderEdits,
    request: bool,
    out: &mut Vec<Edit>,
    problems: &mut Vec<String>,
) {
    for name in &edits.remove {
        let host = matches!(name.as_str(), "host" | ":authority");
        if request && host {
            problems.push(format!("header `{name}` cannot be removed"));
        } else if let Some(name) = editable(name, request, problems) {
            let change = Change::Remove;
            out.push(Edit { name, change });
        }
    }
    let mut put = |edit: &HeaderEdit, change: fn(Value) -> Change| {
        if let Some(name) = editable(&edit.name, request, problems)
            && let Some(value) = value(edit, problems)
        {
            out.push(Edit {
                name,
                change: change(value),
            });
        }
    };
    for edit in &edits.set {
        put(edit, Change::Set);
    }
    for edit in &edits.add {
        put(edit, Change::Append);
    }
}

/// The name, unless it is none, or a field that says where a message or a connection ends.
fn editable(name: &str, request: bool, problems: &mut Vec<String>) -> Option<Box<str>> {
    let lower = name.to_ascii_lowercase();
    if request && lower == ":authority" {
        return Some(lower.into());
    }
    let framing = matches!(
        Known::classify(lower.as_bytes()),
        Known::Connection
            | Known::ContentLength
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::Trailer
            | Known::TransferEncoding
            | Known::Upgrade
    );
    if framing {
        problems.push(format!(
            "header `{name}` belongs to the connection and is not edited"
        ));
        return None;
    }
    if http::HeaderName::from_bytes(lower.as_bytes()).is_err() {
        problems.push(format!("`{name}` is not a header name that can be edited"));
        return None;
    }
    Some(lower.into())
}

fn value(edit: &HeaderEdit, problems: &mut Vec<String>) -> Option<Value> {
    let text = match &edit.value {
        HeaderValue::Format(text) | HeaderValue::Literal(text) => text,
    };
    if http::HeaderValue::from_str(text).is_err() && !text.bytes().all(is_value_byte) {
        problems.push(format!(
            "the value of header `{}` has characters that a header cannot carry",
            edit.name
        ));
        return None;
    }
    Some(match &edit.value {
        HeaderValue::Literal(text) => Value::Literal(text.trim().as_bytes().into()),
        HeaderValue::Format(text) if text.contains('%') => {
            let (format, unknown) = Format::compile(text.trim());
            for operator in unknown {
                problems.push(format!(
                    "`{operator}` in header `{}` is not supported and is sent as it is",
                    edit.name
                ));
            }
            Value::Format(format)
        }
        HeaderValue::Format(text) => Value::Literal(text.trim().as_bytes().into()),
    })
}

/// Whether a byte may stand in a field value: visible, blank, or not ASCII.
fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

impl Edit {
    /// Edits a request.
    pub(super) fn apply_request(&self, head: &mut RequestHead, context: &Context<'_>) {
        let (value, append) = match &self.change {
            Change::Remove => return head.remove(&self.name),
            Change::Set(value) => (value, false),
            Change::Append(value) => (value, true),
        };
        let formatted;
        let bytes: &[u8] = match value {
            Value::Literal(bytes) => bytes,
            Value::Format(format) => {
                formatted = format.render(context, Some(head), None);
                &formatted
            }
        };
        if bytes.is_empty() {
            return;
        }
        if append {
            head.append(&self.name, bytes);
        } else {
            head.set(&self.name, bytes);
        }
    }

    /// Edits a response.
    pub(super) fn apply_response(
        &self,
        head: &mut ResponseHead,
        request: &RequestHead,
        context: &Context<'_>,
    ) {
        let (value, append) = match &self.change {
            Change::Remove => return head.remove(&self.name),
            Change::Set(value) => (value, false),
            Change::Append(value) => (value, true),
        };
        let formatted;
        let bytes: &[u8] = match value {
            Value::Literal(bytes) => bytes,
            Value::Format(format) => {
                formatted = format.render(context, Some(request), Some(head));
                &formatted
            }
        };
        if bytes.is_empty() {
            return;
        }
        if append {
            head.append(&self.name, bytes);
        } else {
            head.set(&self.name, bytes);
        }
    }
}
