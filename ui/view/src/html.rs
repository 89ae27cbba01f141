//! The status as a page for browsers: the text with its sections as headings and its levels as lists.

use std::fmt::Write;

/// A page of a status that was rendered as text. It asks for itself again after so many seconds, where a number is given.
pub fn page(title: &str, text: &str, refresh_seconds: Option<u64>) -> String {
    let mut page = format!("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>{}</title>\n", escaped(title));
    page.push_str("<meta charset=\"utf-8\">\n");
    if let Some(seconds) = refresh_seconds {
        // A text that is written to never fails.
        let _ = writeln!(page, "<meta http-equiv=\"refresh\" content=\"{seconds}\">");
    }
    page.push_str("</head>\n<body>\n");
    let mut open = 0;
    for line in text.lines() {
        let (level, words) = level(line);
        while open > level {
            page.push_str("</ul>\n");
            open -= 1;
        }
        while open < level {
            page.push_str("<ul>\n");
            open += 1;
        }
        let words = escaped(words);
        match level {
            0 if words.trim().is_empty() => {}
            0 if words.ends_with(':') => page.push_str(&format!("<h2>{}</h2>\n", words.trim_end_matches(':'))),
            0 => page.push_str(&format!("<p>{}</p>\n", words.trim())),
            _ => page.push_str(&format!("<li>{words}</li>\n")),
        }
    }
    page.push_str(&"</ul>\n".repeat(open));
    page + "</body>\n</html>\n"
}

/// How deep a line stands, and what is in it.
fn level(line: &str) -> (usize, &str) {
    let words = line.trim_start_matches(' ');
    match words.strip_prefix("* ") {
        Some(item) => ((line.len() - words.len()) / 2, item),
        None => (0, line),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn levels_are_lists() {
        let text =
            "Node List:\n  * Online: [ a <b> ]\n  * Node c: online:\n    * Resources:\n      * web\n\nFailed:\n  * x\n";
        expect![[r#"
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <title>Cluster Status</title>
            <meta charset="utf-8">
            <meta http-equiv="refresh" content="5">
            </head>
            <body>
            <h2>Node List</h2>
            <ul>
            <li>Online: [ a &lt;b&gt; ]</li>
            <li>Node c: online:</li>
            <ul>
            <li>Resources:</li>
            <ul>
            <li>web</li>
            </ul>
            </ul>
            </ul>
            <h2>Failed</h2>
            <ul>
            <li>x</li>
            </ul>
            </body>
            </html>
        "#]]
        .assert_eq(&page("Cluster Status", text, Some(5)));
    }
}
