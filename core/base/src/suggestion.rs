//! What was probably meant by a word that nobody knows.

/// The known word that is nearest, if it is near enough to have been meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 100;
    let letters = word.chars().count();
    // Any two short names are near each other: nothing follows from that.
    if letters < 3 || word.len() > LONGEST {
        return None;
    }
    let start = |text: &str| text.to_lowercase().chars().take(2).collect::<String>();
    let near_enough = |known: &str| match letters {
        // What begins alike may differ more.
        4..8 if start(known) == start(word) => 2,
        _ => (letters / 4).clamp(1, 3),
    };
    known
        .into_iter()
        .filter(|known| known.len() <= LONGEST && known.chars().count().abs_diff(letters) <= near_enough(known))
        .map(|known| (distance(word, known), known))
        .filter(|(distance, known)| *distance <= near_enough(known))
        .min()
        .map(|(_, known)| known)
}

/// How many letters must be added, taken away, replaced, or swapped with the next one (case does not count).
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut above: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(above[j - 1] + 1);
            }
            row.push(cost);
        }
        above = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words() {
        let near = |word| nearest(word, ["primitive", "group", "clone"]);
        assert_eq!(near("primtive"), Some("primitive"));
        assert_eq!(near("Gruop"), Some("group"));
        assert_eq!(near("grup"), Some("group"));
        assert_eq!(near("x"), None);
        assert_eq!(nearest("alfa", ["alpha", "beta"]), Some("alpha"));
        assert_eq!(nearest("node", ["name", "mode"]), Some("mode"));
        assert_eq!(nearest("node", ["name"]), None);
        assert_eq!(nearest("web", ["b", "w", "we", "wob"]), Some("we"));
        assert_eq!(nearest("web", ["b", "a"]), None);
        assert_eq!(nearest("n4", ["n1", "n2"]), None);
    }
}
