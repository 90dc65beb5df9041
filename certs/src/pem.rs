//! Cuts PEM text into blocks that know where they stand.

use crate::{CertError, Problem};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

/// One block of PEM text.
pub(crate) struct Block {
    /// Label, e.g. `CERTIFICATE`.
    pub(crate) label: String,
    /// Number among all blocks of the text, from 1.
    pub(crate) index: usize,
    /// Line of the BEGIN, from 1.
    pub(crate) line: usize,
    /// BEGIN to END, lines trimmed; it may be a private key.
    text: Zeroizing<String>,
}

impl Block {
    /// The decoded bytes.
    pub(crate) fn decode(&self, what: &'static str) -> Result<Vec<u8>, CertError> {
        let mut text = self.text.as_bytes();
        match Section::from_pem_reader(&mut text) {
            Ok(Section(der)) if !der.is_empty() => Ok(der),
            Ok(_) | Err(_) => Err(self.error(what, Problem::Base64)),
        }
    }

    /// Whether the block says, as OpenSSL's old form does, that its content is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.text.contains("Proc-Type: 4,ENCRYPTED")
    }

    /// An error about this block.
    pub(crate) fn error(&self, what: &'static str, problem: Problem) -> CertError {
        CertError {
            what,
            block: Some((self.index, self.line)),
            problem,
        }
    }
}

/// A section of any kind: the block's label was looked at before.
struct Section(Vec<u8>);

impl PemObject for Section {
    fn from_pem(_: SectionKind, der: Vec<u8>) -> Option<Self> {
        Some(Self(der))
    }
}

/// Cuts `text` into its blocks; text between blocks is ignored, as OpenSSL does.
pub(crate) fn blocks(what: &'static str, text: &str) -> Result<Vec<Block>, CertError> {
    let whole = |problem| CertError {
        what,
        block: None,
        problem,
    };
    if text.trim().is_empty() {
        return Err(whole(Problem::Empty));
    }
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(label) = marker(line, "-----BEGIN ") {
            if let Some(block) = open.take() {
                let label = block.label.clone();
                return Err(block.error(what, Problem::Unterminated(label)));
            }
            open = Some(Block {
                label: label.to_owned(),
                index: blocks.len() + 1,
                line: number + 1,
                text: Zeroizing::new(format!("{line}\n")),
            });
        } else if let Some(mut block) = open.take() {
            if !line.is_empty() {
                block.text.push_str(line);
                block.text.push('\n');
            }
            if marker(line, "-----END ") == Some(block.label.as_str()) {
                blocks.push(block);
            } else {
                open = Some(block);
            }
        }
    }
    if let Some(block) = open {
        let label = block.label.clone();
        return Err(block.error(what, Problem::Unterminated(label)));
    }
    Ok(blocks)
}

fn marker<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}

/// Decodes standard base64; nothing when it is malformed.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok()
}

/// PEM text with lines of 64 characters.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let digits = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}
