//! Tables in light box-drawing characters, in the layout that etcd's tools print: headings in
//! capitals and centred, cells to the right, every column as wide as its widest line.

use unicode_width::UnicodeWidthStr;

/// The table as text, with a newline after every line.
///
/// Underscores of a heading become blanks. A row has one cell per heading; a cell may have several
/// lines.
#[must_use]
pub fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings
        .iter()
        .map(|heading| heading.replace('_', " ").to_uppercase())
        .collect();
    let rows: Vec<Vec<Vec<&str>>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| lines(cell)).collect())
        .collect();
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).flatten();
            cells
                .map(|line| line.width())
                .fold(headings[column].width(), usize::max)
        })
        .collect();

    let mut text = String::new();
    rule(&mut text, &widths, ['┌', '┬', '┐']);
    let centred = headings
        .iter()
        .zip(&widths)
        .map(|(heading, width)| centre(heading, *width));
    line(&mut text, centred);
    if !rows.is_empty() {
        rule(&mut text, &widths, ['├', '┼', '┤']);
    }
    for row in &rows {
        let height = row.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..height {
            let cells = widths.iter().enumerate().map(|(column, width)| {
                let cell = row
                    .get(column)
                    .and_then(|cell| cell.get(at))
                    .copied()
                    .unwrap_or("");
                right(cell, *width)
            });
            line(&mut text, cells);
        }
    }
    rule(&mut text, &widths, ['└', '┴', '┘']);
    text
}

fn lines(cell: &str) -> Vec<&str> {
    cell.trim().split('\n').collect()
}

fn rule(text: &mut String, widths: &[usize], [left, between, end]: [char; 3]) {
    for (column, width) in widths.iter().enumerate() {
        text.push(if column == 0 { left } else { between });
        text.push_str(&"─".repeat(width + 2));
    }
    text.push(end);
    text.push('\n');
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    for cell in cells {
        text.push_str("│ ");
        text.push_str(&cell);
        text.push(' ');
    }
    text.push_str("│\n");
}

fn centre(cell: &str, width: usize) -> String {
    let gap = width.saturating_sub(cell.width());
    format!("{}{cell}{}", " ".repeat(gap / 2), " ".repeat(gap - gap / 2))
}

fn right(cell: &str, width: usize) -> String {
    format!("{}{cell}", " ".repeat(width.saturating_sub(cell.width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_centred_and_cells_stand_right() {
        let table = render(
            &["id", "hash_revision"],
            &[vec!["127.0.0.1".into(), "2".into()]],
        );
        let expected = "\
┌───────────┬───────────────┐
│    ID     │ HASH REVISION │
├───────────┼───────────────┤
│ 127.0.0.1 │             2 │
└───────────┴───────────────┘
";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_table_without_rows_is_headings_alone() {
        assert_eq!(render(&["a"], &[]), "┌───┐\n│ A │\n└───┘\n");
    }

    #[test]
    fn wide_characters_and_lines_keep_the_columns_straight() {
        let table = render(&["n", "e"], &[vec!["中".into(), "a\nbc ".into()]]);
        let expected = "\
┌────┬────┐
│ N  │ E  │
├────┼────┤
│ 中 │  a │
│    │ bc │
└────┴────┘
";
        assert_eq!(table, expected);
    }
}
