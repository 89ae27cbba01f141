use super::{Mutation, generate, run, run_seeds};

#[test]
fn seeds_break_no_rule() {
    let total = run_seeds(0, 1, None, |number| number >= 300);
    assert!(total.violations.is_empty(), "{:?}", total.violations.first());
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..5 {
        let script = generate::script(seed);
        let (one, two) = (super::run_traced(&script, None), super::run_traced(&script, None));
        assert_eq!(one.trace, two.trace);
    }
}

#[test]
fn every_mutation_is_caught() {
    for mutation in Mutation::ALL {
        let caught = (0..4000).find_map(|seed| run(&generate::script(seed), Some(mutation)).violation);
        let caught = caught.map(|violation| violation.rule);
        assert!(caught.is_some_and(|rule| mutation.breaks().contains(&rule)), "{mutation:?}: {caught:?}");
    }
}
