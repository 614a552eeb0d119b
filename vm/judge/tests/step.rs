//! The rules of a step: each takes exactly the false claims of its kind, and a true claim loses to none.

mod core;

use ::core::ops::Range;
use bitsect_judge::leaf::Rule;
use bitsect_judge::step::{StepClaim, rules};
use core::Spend;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const TEXT: Range<u32> = 0x1000..0x0020_0000;

fn rule(name: &str) -> Rule {
    let mut found = rules(&TEXT).into_iter().filter(|rule| rule.name == name);
    found.next().unwrap_or_else(|| panic!("no rule {name}"))
}

/// Words at and around the edges, and any others.
fn word() -> impl Strategy<Value = u32> {
    let edges = vec![
        0,
        1,
        2,
        3,
        4,
        7,
        8,
        15,
        16,
        31,
        32,
        0x7ff,
        0x800,
        0xfff,
        0xffff,
        0x1_0000,
        0x0fff_ffff,
        0x1000_0000,
        0x7fff_fffe,
        0x7fff_ffff,
        0x8000_0000,
        0x8000_0001,
        0xf000_0000,
        0xffff_0000,
        0xffff_fff0,
        0xffff_fffe,
        0xffff_ffff,
    ];
    prop_oneof![
        any::<u32>(),
        proptest::sample::select(edges),
        any::<u8>().prop_map(u32::from),
        any::<u32>().prop_map(|word| 1 << (word % 32))
    ]
}

#[test]
fn result_add() {
    let rule = rule("result/add");
    let spend = Spend::new(&rule.bare().script);
    eprintln!("{} bytes", rule.bare().script.len());
    TestRunner::new(Config::with_cases(2_000))
        .run(&(word(), word(), word(), any::<u32>()), |(a, b, w, bits)| {
            let mut claim = StepClaim {
                pc: 0x1000,
                first: a,
                second: b,
                instruction: 0x33 | bits & 0x01ff_8f80,
                ..StepClaim::default()
            };
            claim.conclude(&TEXT);
            prop_assert!(!spend.takes(&rule.bare_witness(&[], &claim.values())));
            claim.written = w;
            let refuted = rule.refute(&claim.values()).is_some();
            prop_assert_eq!(refuted, w != a.wrapping_add(b));
            prop_assert_eq!(spend.takes(&rule.bare_witness(&[], &claim.values())), refuted);
            Ok(())
        })
        .unwrap();
}
