//! What there is to tell a user about files and objects, in one form for every command.

use gwanmun_api::manifest::{ReadFinding, ReadSeverity};
use gwanmun_translate::{Finding, Severity};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// Something to tell a user: one line of `gwanmun check`.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notice {
    /// How bad it is.
    pub(crate) severity: Level,
    /// What it is, for scripts and searches.
    pub(crate) code: String,
    /// The object, `HTTPRoute default/echo`, or `File conf/a.yaml`.
    pub(crate) object: String,
    /// Path of the field; empty for all of the object.
    pub(crate) field: String,
    /// What is wrong and what happens instead.
    pub(crate) message: String,
    /// Where it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// Line in the file, from 1; absent when it is the file as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
}

/// How bad a [`Notice`] is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Level {
    /// Something is not served as written.
    Error,
    /// Something is probably not what was meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

impl From<&Finding> for Notice {
    fn from(finding: &Finding) -> Self {
        let (file, line) = finding.file_line.clone().unzip();
        Self {
            severity: match finding.severity {
                Severity::Error => Level::Error,
                Severity::Warning => Level::Warning,
                Severity::Info => Level::Info,
            },
            code: finding.code.to_string(),
            object: finding.object.to_string(),
            field: finding.field.clone(),
            message: finding.message.clone(),
            file: file.map(|file| file.to_string()),
            line,
        }
    }
}

impl From<&ReadFinding> for Notice {
    fn from(finding: &ReadFinding) -> Self {
        let of_file = finding.object.is_empty();
        Self {
            severity: match finding.severity {
                ReadSeverity::Error => Level::Error,
                ReadSeverity::Warning => Level::Warning,
                ReadSeverity::Info => Level::Info,
            },
            code: finding.code.to_string(),
            object: if of_file {
                format!("File {}", finding.file)
            } else {
                finding.object.clone()
            },
            field: finding.field.clone(),
            message: finding.message.clone(),
            file: Some(finding.file.to_string()),
            line: Some(finding.line).filter(|line| *line > 0),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.severity, self.code, self.object)?;
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({file}:{line})"),
            (Some(file), None) => write!(f, " ({file})"),
            (None, _) => Ok(()),
        }
    }
}

impl Notice {
    /// Writes one line to the application log.
    fn log(&self) {
        let Self {
            code,
            object,
            message,
            ..
        } = self;
        let field = Some(self.field.as_str()).filter(|field| !field.is_empty());
        let file = self.place();
        let file = file.as_deref();
        match self.severity {
            Level::Error => tracing::error!(object, code, field, file, "{message}"),
            Level::Warning | Level::Info => self.log_lesser(field, file),
        }
    }

    fn log_lesser(&self, field: Option<&str>, file: Option<&str>) {
        let Self {
            code,
            object,
            message,
            ..
        } = self;
        if self.severity == Level::Warning {
            tracing::warn!(object, code, field, file, "{message}");
        } else {
            tracing::info!(object, code, field, file, "{message}");
        }
    }

    /// `FILE:LINE`, as far as it is known.
    fn place(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        let line = self.line.map(|line| format!("{file}:{line}"));
        Some(line.unwrap_or_else(|| file.clone()))
    }
}

/// Says everything once: a notice is repeated only after it was gone.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    said: BTreeSet<Notice>,
}

impl Announcer {
    /// Logs what is new among `notices`, which are all there are now.
    pub(crate) fn announce(&mut self, notices: &[Notice]) {
        // Editing a file moves lines: that makes nothing new.
        let same = |notice: &Notice| Notice {
            line: None,
            ..notice.clone()
        };
        for notice in notices {
            if !self.said.contains(&same(notice)) {
                notice.log();
            }
        }
        self.said = notices.iter().map(same).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_every_supported_feature_is_documented() {
        let document = include_str!("../docs/configuration.md");
        let codes = gwanmun_translate::Code::ALL
            .iter()
            .map(|code| code.as_str());
        let read = gwanmun_api::manifest::ReadCode::ALL
            .iter()
            .map(|code| code.as_str());
        for code in codes.chain(read) {
            assert!(document.contains(code), "{code}");
        }
        let class = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: ours}, \
                     spec: {controllerName: gwanmun.io/gateway-controller}}";
        let mut store = gwanmun_translate::Store::default();
        for object in gwanmun_api::manifest::read("class.yaml", class, "default").objects {
            store.apply(object);
        }
        let made = gwanmun_translate::translate_all(&store, &gwanmun_translate::Options::default());
        let features = made
            .statuses
            .values()
            .flat_map(|status| &status.supported_features);
        let mut count = 0;
        for feature in features {
            assert!(
                document.contains(&format!("`{}`", feature.name)),
                "{}",
                feature.name
            );
            count += 1;
        }
        assert!(count > 0);
    }

    #[test]
    fn one_line_per_notice() {
        let mut notice = Notice {
            severity: Level::Error,
            code: "IST0101".to_owned(),
            object: "VirtualService default/bookinfo".to_owned(),
            field: "spec.http[0].route[0].destination.host".to_owned(),
            message: "`reviews` does not exist".to_owned(),
            file: Some("conf/a.yaml".to_owned()),
            line: Some(12),
        };
        assert_eq!(
            notice.to_string(),
            "error IST0101 VirtualService default/bookinfo spec.http[0].route[0].destination.host: `reviews` does not exist (conf/a.yaml:12)"
        );
        notice.field.clear();
        notice.line = None;
        assert_eq!(
            notice.to_string(),
            "error IST0101 VirtualService default/bookinfo: `reviews` does not exist (conf/a.yaml)"
        );
    }
}
