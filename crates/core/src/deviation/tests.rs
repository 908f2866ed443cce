//! Signs on made traces: each is found when it is there, once, and not before.

use super::*;

/// Wednesday, 2025-10-08, 08:26:40 UTC.
const BEGIN_MS: i64 = 1_759_912_000_000;

fn task(n: u8) -> TaskId {
    TaskId::from_random([n; 16])
}

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(BEGIN_MS + s * 1_000)
}

fn rule(sign: Sign) -> Vec<Rule> {
    vec![Rule { name: "the-rule".to_owned(), sign, then: Containment::Ask }]
}

const READ: What<'static> = What::Decided {
    allowed: true,
    denied: false,
    resource: Some("github"),
    operation: "http.get",
    host: "api.github.example",
    credential: Some("github-bot"),
};
const DENIED: What<'static> = What::Decided {
    allowed: false,
    denied: true,
    resource: Some("github"),
    operation: "http.delete",
    host: "api.github.example",
    credential: Some("github-bot"),
};

#[track_caller]
fn see(profile: &mut Profile, rules: &[Rule], s: i64, n: u8, what: What<'_>) -> Option<String> {
    let mut found = profile.observe(rules, &Seen { at: at(s), task: &task(n), what });
    assert!(found.len() <= 1);
    found.pop().map(|found| found.detail)
}

#[test]
fn refusals_count_within_their_time_and_their_task() {
    let rules = rule(Sign::Refusals { count: 3, within_s: 60 });
    let mut profile = Profile::default();
    for (s, n, expected) in [
        (0, 1, false),
        (10, 1, false),
        (15, 2, false),
        // The first of the three is too old by now.
        (65, 1, false),
        (66, 1, true),
        (67, 1, false),
        (70, 2, false),
    ] {
        assert_eq!(see(&mut profile, &rules, s, n, DENIED).is_some(), expected, "{s}");
    }
    assert_eq!(see(&mut profile, &rules, 71, 2, READ), None, "a use that is let out is no refusal");
    assert_eq!(see(&mut profile, &rules, 72, 2, DENIED), None, "the first of these three is too old");
    assert!(see(&mut profile, &rules, 73, 2, DENIED).is_some());
    // A task that is over begins anew, should its id come again.
    assert_eq!(see(&mut profile, &rules, 74, 2, What::Ended), None);
    assert_eq!(profile.tasks.len(), 1);
}

#[test]
fn rates_and_volumes() {
    let mut profile = Profile::default();
    let calls = rule(Sign::Calls { count: 100, within_s: 10 });
    for n in 0..99 {
        assert_eq!(see(&mut profile, &calls, 0, 1, READ), None, "{n}");
    }
    assert!(see(&mut profile, &calls, 0, 1, READ).is_some());
    let bytes = rule(Sign::Bytes { count: 1_000_000, within_s: 3_600 });
    let mut profile = Profile::default();
    assert_eq!(see(&mut profile, &bytes, 0, 1, What::Settled { bytes: 999_999 }), None);
    assert_eq!(see(&mut profile, &bytes, 4_000, 1, What::Settled { bytes: 1 }), None, "an hour later");
    assert!(see(&mut profile, &bytes, 4_001, 1, What::Settled { bytes: 999_999 }).is_some());
}

#[test]
fn what_is_new_is_new_once_and_only_for_who_is_known() {
    let rules = rule(Sign::FirstUse { after: 10 });
    let mut profile = Profile::default();
    for s in 0..10 {
        assert_eq!(see(&mut profile, &rules, s, 1, READ), None);
    }
    let other = What::Decided {
        allowed: true,
        denied: false,
        resource: Some("payroll"),
        operation: "http.get",
        host: "payroll.example",
        credential: None,
    };
    let said = see(&mut profile, &rules, 11, 2, other).expect("new");
    assert!(said.contains("payroll/http.get") && said.contains("10 uses"), "{said}");
    assert_eq!(see(&mut profile, &rules, 12, 2, other), None);
    assert_eq!(see(&mut profile, &rules, 13, 3, other), None, "of this agent, not of this task");
}

#[test]
fn an_hour_is_held_against_the_week_before() {
    let rules = rule(Sign::MoreThanUsual { factor: 5, count: 20 });
    let mut profile = Profile::default();
    let mut busy = |hour: i64, calls: i64| {
        (0..calls).filter_map(|_| see(&mut profile, &rules, hour * 3_600, 1, READ)).count()
    };
    assert_eq!(busy(0, 500), 0, "nothing is known yet");
    assert_eq!(busy(1, 3), 0);
    let mut profile = Profile::default();
    let mut busy = |hour: i64, calls: i64| {
        (0..calls).filter_map(|_| see(&mut profile, &rules, hour * 3_600, 1, READ)).count()
    };
    assert_eq!(busy(0, 3), 0);
    assert_eq!(busy(1, 19), 0, "few, though many times more");
    assert_eq!(busy(2, 95), 0);
    assert_eq!(busy(3, 1_000), 1);
    assert_eq!(busy(4, 1_000), 0, "that is usual by now");
}

#[test]
fn hours_of_the_day_and_days_of_the_week() {
    let hours = |text: &str| Hours::parse(text).expect(text);
    // Wednesday, 08:26.
    for (text, inside) in [
        ("07:00-19:00", true),
        ("mon-fri 07:00-19:00", true),
        ("wed 08:26-08:27", true),
        ("wed 08:27-09:00", false),
        ("thu-tue 00:00-23:59", false),
        ("22:00-06:00", false),
        ("22:00-09:00", true),
        ("tue 22:00-09:00", true),
        ("wed 22:00-09:00", false),
        ("sat-wed 08:00-09:00", true),
    ] {
        assert_eq!(hours(text).contain(at(0)), inside, "{text}");
    }
    for bad in [
        "",
        "7:00-19:00",
        "07:00",
        "mon 07:00-07:00",
        "07:00-24:00",
        "Mon 07:00-19:00",
        "mon-xyz 07:00-19:00",
    ] {
        assert!(Hours::parse(bad).is_err(), "{bad}");
    }
    let rules = rule(Sign::OutsideHours(hours("mon-fri 07:00-19:00")));
    let mut profile = Profile::default();
    assert_eq!(see(&mut profile, &rules, 0, 1, READ), None);
    assert!(see(&mut profile, &rules, 3 * 86_400, 1, READ).is_some(), "on Saturday");
    assert_eq!(see(&mut profile, &rules, 3 * 86_400 + 1, 1, READ), None, "once in a task");
}

#[test]
fn canaries_and_second_places() {
    let canary = CredentialName::parse("github-bot").expect("a name");
    let rules = rule(Sign::Canary([canary].into()));
    // Reached for is enough: that it was refused makes it no better.
    assert!(see(&mut Profile::default(), &rules, 0, 1, DENIED).is_some());
    let rules = rule(Sign::SecondPlace);
    assert_eq!(see(&mut Profile::default(), &rules, 0, 1, READ), None);
    assert!(see(&mut Profile::default(), &rules, 0, 1, What::Misused).is_some());
}

#[test]
fn what_is_known_is_bounded_and_survives_being_written_down() {
    let rules = Rule::defaults();
    let mut profile = Profile::default();
    for n in 0..6_000_u32 {
        let host = format!("h{n}.example");
        let what = What::Decided {
            allowed: true,
            denied: false,
            resource: None,
            operation: "http.get",
            host: &host,
            credential: None,
        };
        let id = TaskId::from_random(u128::from(n).to_be_bytes());
        profile.observe(&rules, &Seen { at: at(i64::from(n) * 60), task: &id, what });
    }
    assert!(profile.known.len() == KNOWN_MAX && profile.tasks.len() == TASKS_MAX);
    assert!(profile.hours.len() <= HOURS_MAX);
    let text = serde_json::to_string(&profile).expect("JSON");
    assert_eq!(serde_json::from_str::<Profile>(&text).expect("its own text"), profile);
}

/// Numbers that look drawn and are the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        // A step of xorshift64*.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// Forty agents that work normally for four weeks: what the rules say that hold when nobody states any.
#[test]
fn a_normal_month_raises_little() {
    let rules = Rule::defaults();
    let mut draw = Draw(7);
    let (mut uses, mut news) = (0_u64, 0_u64);
    let mut raised: BTreeMap<String, u64> = BTreeMap::new();
    for agent in 0..40_u64 {
        let mut profile = Profile::default();
        let mut operations = 3 + agent % 5;
        for day in 0..28_i64 {
            // Less at weekends. It began on a Wednesday.
            let weekend = (day + 2) % 7 >= 5;
            let tasks = if weekend { draw.below(3) } else { 6 + draw.below(10) };
            // Once in a fortnight something is new.
            if draw.below(14) == 0 {
                operations += 1;
                news += 1;
            }
            for _ in 0..tasks {
                let id = TaskId::from_random(u128::from(uses).to_be_bytes());
                let mut s = day * 86_400 + 3_600 * i64::try_from(draw.below(9)).expect("small");
                for _ in 0..10 + draw.below(60) {
                    s += i64::try_from(draw.below(20)).expect("small");
                    let operation = format!("op{}", draw.below(operations));
                    let denied = draw.below(50) == 0;
                    let what = What::Decided {
                        allowed: !denied,
                        denied,
                        resource: Some("shop"),
                        operation: &operation,
                        host: "shop.example",
                        credential: None,
                    };
                    uses += 1;
                    for found in profile.observe(&rules, &Seen { at: at(s), task: &id, what }) {
                        *raised.entry(found.rule).or_default() += 1;
                    }
                }
                profile.observe(&rules, &Seen { at: at(s), task: &id, what: What::Ended });
            }
        }
    }
    println!("{uses} uses, {news} new operations: {raised:?}");
    let first = raised.remove("first-use").unwrap_or(0);
    assert!(first <= news, "{first} first uses of {news} new operations");
    assert_eq!(raised, BTreeMap::new(), "nothing else is odd");
}
