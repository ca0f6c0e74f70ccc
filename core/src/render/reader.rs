//! Reads fields one by one and keeps every problem, so that a user hears of all of them at once.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;

use super::problem::{Problem, Problems};
use crate::api::Int32;
use crate::duration::GoDuration;
use crate::quantity::Quantity;

/// The problems so far. After one, reading goes on with any value: nobody gets to see it.
#[derive(Debug, Default)]
pub(super) struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// What was read, if there was no problem.
    pub(super) fn done<T>(self, value: T) -> Result<T, Problems> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(Problems(self.problems))
        }
    }

    pub(super) fn or_default<T: Default>(&mut self, value: Result<T, Problem>) -> T {
        value.unwrap_or_else(|problem| {
            self.add(problem);
            T::default()
        })
    }

    pub(super) fn or_none<T>(&mut self, value: Result<T, Problem>) -> Option<T> {
        value.map_err(|problem| self.add(problem)).ok()
    }

    /// What every stored object has.
    pub(super) fn stored(&mut self, field: &'static str, value: Option<&String>) -> String {
        value.cloned().unwrap_or_else(|| {
            self.add(Problem::NotStored { field });
            String::new()
        })
    }

    /// The name of a Secret.
    pub(super) fn secret(&mut self, field: &'static str, name: Option<&String>) -> String {
        if let Some(name) = name.filter(|it| !it.is_empty()) {
            return name.clone();
        }
        self.add(Problem::NoSecret { field });
        String::new()
    }

    /// A number within bounds that `T` has.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        field: &'static str,
        value: Option<Int32>,
        least: i64,
        most: i64,
        default: T,
    ) -> T {
        let Some(Int32(found)) = value else {
            return default;
        };
        let within = (least..=most).contains(&found);
        match T::try_from(found) {
            Ok(number) if within => number,
            Ok(_) | Err(_) => {
                self.add(Problem::Number {
                    field,
                    found,
                    least,
                    most,
                });
                default
            }
        }
    }

    /// One of some words; the first if none is given.
    pub(super) fn word(
        &mut self,
        field: &'static str,
        value: Option<&String>,
        allowed: &'static [&'static str],
    ) -> String {
        let first = allowed.first().copied().unwrap_or_default();
        match value {
            None => first.to_owned(),
            Some(word) if allowed.contains(&word.as_str()) => word.clone(),
            Some(found) => {
                self.add(Problem::Word {
                    field,
                    found: found.clone(),
                    allowed,
                });
                first.to_owned()
            }
        }
    }

    /// Any quantity.
    pub(super) fn quantity(&mut self, field: &'static str, text: &Written) -> Quantity {
        text.0.parse().unwrap_or_else(|_| {
            let found = text.0.clone();
            self.add(Problem::Quantity { field, found });
            Quantity::whole(0)
        })
    }

    /// A quantity above zero.
    pub(super) fn positive(
        &mut self,
        field: &'static str,
        text: Option<&Written>,
        default: Quantity,
    ) -> Quantity {
        let Some(text) = text else { return default };
        match text.0.parse::<Quantity>() {
            Ok(quantity) if quantity.value() > 0 => quantity,
            Ok(_) | Err(_) => {
                let found = text.0.clone();
                self.add(Problem::Quantity { field, found });
                default
            }
        }
    }

    /// A length of time.
    pub(super) fn duration(
        &mut self,
        field: &'static str,
        text: Option<&String>,
    ) -> Option<GoDuration> {
        let text = text?;
        let found = text.clone();
        text.parse()
            .map_err(|_| self.add(Problem::Duration { field, found }))
            .ok()
    }
}
