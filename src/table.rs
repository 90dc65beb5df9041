//! Tables of text, as `istioctl` prints them.

use std::fmt;

/// Rows of text under a header, printed in columns of equal width.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Sorts the rows.
    pub(crate) fn sort(&mut self) {
        self.rows.sort();
    }
}

/// Space between columns.
const GAP: usize = 2;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: &str| text.chars().count();
        let widths: Vec<usize> = self
            .header
            .iter()
            .enumerate()
            .map(|(column, header)| {
                let cells = self
                    .rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| width(cell));
                cells.max().unwrap_or(0).max(width(header))
            })
            .collect();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for (cell, column) in cells.zip(&widths) {
                text.push_str(cell);
                text.push_str(&" ".repeat(column + GAP - width(cell)));
            }
            writeln!(f, "{}", text.trim_end())
        };
        line(&mut self.header.iter().copied())?;
        for row in &self.rows {
            line(&mut row.iter().map(String::as_str))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", "PORT"]);
        table.row(["reviews.default", "9080"]);
        table.row(["é", ""]);
        assert_eq!(
            table.to_string(),
            "NAME             PORT\nreviews.default  9080\né\n"
        );
    }
}
