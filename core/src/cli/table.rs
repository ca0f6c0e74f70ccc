//! Columns.

use super::colour::{Colours, Tone, clean};

/// Between two columns, as kubectl has it.
const GAP: &str = "   ";

/// A cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A fact.
    pub(crate) fn plain(text: &str) -> Self {
        Self::toned(text, Tone::Plain)
    }

    /// A fact that may not be known.
    pub(crate) fn known(text: Option<&str>) -> Self {
        Self::plain(text.unwrap_or("-"))
    }

    /// A word that says more than itself.
    pub(crate) fn toned(text: &str, tone: Tone) -> Self {
        let text = if text.is_empty() {
            "-".to_owned()
        } else {
            clean(text)
        };
        Self { text, tone }
    }
}

/// The header and a line for each row.
pub(crate) fn lines<const N: usize>(
    header: [&str; N],
    rows: &[[Cell; N]],
    colours: Colours,
) -> Vec<String> {
    let header = header.map(Cell::plain);
    let all = || std::iter::once(&header).chain(rows);
    let mut widths = [0; N];
    for row in all() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    all()
        .map(|row| {
            let cells = row.iter().zip(widths).map(|(cell, width)| {
                let missing = width - cell.text.chars().count();
                cell.tone.paint(&cell.text, colours) + &" ".repeat(missing)
            });
            let line: Vec<_> = cells.collect();
            line.join(GAP).trim_end().to_owned()
        })
        .collect()
}
