//! The credentials of each provider, where etcd-backup-restore looks for them.
//!
//! `<P>X_JSON` names a file; else `<P>X` names a directory, of which the first `*.json` file counts,
//! else one file for each field. `<P>` is empty or `SOURCE_`. Line ends after a value
//! are cut off: an editor puts them there, and no credential ends in one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The environment, as a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Env(BTreeMap<String, String>);

impl Env {
    /// That of this process. What is not UTF-8 is none of ours.
    pub(crate) fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    /// A variable, if it is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|it| !it.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let own = |(name, value): (N, V)| (name.into(), value.into());
        Self(variables.into_iter().map(own).collect())
    }
}

/// What must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Hides a text.
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Whose credentials: those of the store, or of the source of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    /// `--storage-provider` and so on.
    Main,
    /// `--source-*`, `SOURCE_*`.
    Source,
}

impl Whose {
    /// What its environment variables begin with.
    pub(crate) fn variables(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Source => "SOURCE_",
        }
    }

    /// What its flags begin with, after the two dashes.
    pub(crate) fn flags(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Source => "source-",
        }
    }
}

/// Why there are no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CredentialError {
    /// No variable says where they are.
    #[error("no credentials: set {0} to the directory that holds them, or {0}_JSON to a file")]
    NotSet(String),
    /// A variable that holds a part of them is not set.
    #[error("no credentials: set {0}")]
    Variable(String),
    /// A file or directory cannot be read.
    #[error("{variable}: {} cannot be read: {why}", path.display())]
    Unreadable {
        /// Which variable names it.
        variable: String,
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file is not a JSON object.
    #[error("{variable}: {} is no JSON object: {why}", path.display())]
    NotJson {
        /// Which variable names it.
        variable: String,
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A field is missing.
    #[error("{variable}: {} does not have {field:?}; add it", path.display())]
    Missing {
        /// Which variable names it.
        variable: String,
        /// The file or directory.
        path: PathBuf,
        /// Which field.
        field: &'static str,
    },
    /// A field has a value that makes no sense.
    #[error("{variable}: {} has {field} = {value:?}: {remedy}", path.display())]
    Bad {
        /// Which variable names it.
        variable: String,
        /// The file or directory.
        path: PathBuf,
        /// Which field.
        field: &'static str,
        /// Its value; never a secret one.
        value: String,
        /// What it can be.
        remedy: &'static str,
    },
}

/// Fields of one provider, and where they are from.
struct Fields {
    variable: String,
    path: PathBuf,
    from_json: bool,
    values: BTreeMap<String, String>,
}

impl Fields {
    /// Reads `<P>X_JSON` or `<P>X`; `None` if neither is set.
    fn find(env: &Env, whose: Whose, name: &str) -> Result<Option<Self>, CredentialError> {
        let variable = format!("{}{name}", whose.variables());
        let json = format!("{variable}_JSON");
        if let Some(path) = env.get(&json) {
            return Self::json(json, path.into()).map(Some);
        }
        let Some(path) = env.get(&variable) else {
            return Ok(None);
        };
        Self::directory(variable, path.into()).map(Some)
    }

    fn read(env: &Env, whose: Whose, name: &str) -> Result<Self, CredentialError> {
        let variable = || format!("{}{name}", whose.variables());
        Self::find(env, whose, name)?.ok_or_else(|| CredentialError::NotSet(variable()))
    }

    fn json(variable: String, path: PathBuf) -> Result<Self, CredentialError> {
        let text = slurp(&variable, &path)?;
        let not_json = |why: String| CredentialError::NotJson {
            variable: variable.clone(),
            path: path.clone(),
            why,
        };
        let object: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&text).map_err(|error| not_json(error.to_string()))?;
        let values = object
            .into_iter()
            .filter_map(|(name, value)| {
                use serde_json::Value;
                match value {
                    Value::String(text) => Some((name, trimmed(&text))),
                    Value::Bool(yes) => Some((name, yes.to_string())),
                    Value::Number(number) => Some((name, number.to_string())),
                    Value::Null | Value::Array(_) | Value::Object(_) => None,
                }
            })
            .collect();
        Ok(Self {
            variable,
            path,
            from_json: true,
            values,
        })
    }

    fn directory(variable: String, path: PathBuf) -> Result<Self, CredentialError> {
        let unreadable = |error: std::io::Error| CredentialError::Unreadable {
            variable: variable.clone(),
            path: path.clone(),
            why: error.to_string(),
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            // Links are followed: a mounted secret is made of them.
            if file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        if let Some(json) = files
            .iter()
            .find(|it| it.extension() == Some("json".as_ref()))
        {
            return Self::json(variable, json.clone());
        }
        let mut values = BTreeMap::new();
        for file in files {
            if let Some(name) = file.file_name().and_then(|it| it.to_str()) {
                values.insert(name.to_owned(), trimmed(&slurp(&variable, &file)?));
            }
        }
        Ok(Self {
            variable,
            path,
            from_json: false,
            values,
        })
    }

    /// A field that may be missing; an empty one is.
    fn get(&self, field: &str) -> Option<String> {
        self.values.get(field).filter(|it| !it.is_empty()).cloned()
    }

    fn need(&self, field: &'static str) -> Result<String, CredentialError> {
        self.get(field).ok_or_else(|| CredentialError::Missing {
            variable: self.variable.clone(),
            path: self.path.clone(),
            field,
        })
    }

    fn secret(&self, field: &'static str) -> Result<Secret, CredentialError> {
        self.need(field).map(Secret)
    }

    /// What a field says, out of a few words.
    fn one_of<T: Copy>(
        &self,
        field: &'static str,
        words: &[(&str, T)],
        remedy: &'static str,
    ) -> Result<Option<T>, CredentialError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let found = words.iter().find(|(word, _)| *word == value);
        let bad = || CredentialError::Bad {
            variable: self.variable.clone(),
            path: self.path.clone(),
            field,
            value: value.clone(),
            remedy,
        };
        found.map(|(_, it)| Some(*it)).ok_or_else(bad)
    }

    fn flag(&self, field: &'static str) -> Result<bool, CredentialError> {
        let words = [("true", true), ("false", false)];
        let said = self.one_of(field, &words, "it is true or false")?;
        Ok(said.unwrap_or(false))
    }

    /// A file that is not read now: that of the field, or the one that a JSON field names, beside
    /// the JSON file unless absolute.
    fn file(&self, field: &str) -> PathBuf {
        if self.from_json {
            let directory = self.path.parent().unwrap_or(Path::new(""));
            directory.join(self.get(field).as_deref().unwrap_or(field))
        } else {
            self.path.join(field)
        }
    }
}

fn slurp(variable: &str, path: &Path) -> Result<String, CredentialError> {
    std::fs::read_to_string(path).map_err(|error| CredentialError::Unreadable {
        variable: variable.to_owned(),
        path: path.to_owned(),
        why: error.to_string(),
    })
}

fn trimmed(text: &str) -> String {
    text.trim_end_matches(['\n', '\r']).to_owned()
}

mod accounts;

pub(crate) use accounts::{
    AbsAccount, GcsAccount, GcsLogin, OssAccount, S3Account, S3Login, SseKey, SwiftAccount,
    SwiftLogin,
};

#[cfg(test)]
mod tests;
