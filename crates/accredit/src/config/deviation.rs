//! `[[deviation]]`: signs that an agent does what it does not usually do, and what follows.

use std::collections::BTreeSet;

use accredit_core::deviation::{
    Containment, Hours, RULE_NAME_BYTES_MAX, RULES_MAX, Rule, Sign, WITHIN_S_MAX,
};
use accredit_core::id::CredentialName;

use super::document::{ConfigError, Section};
use super::duration;

/// Reads every rule. None is written: the rules of an installation that states none.
pub(super) fn read(sections: Vec<Section<'_>>) -> Result<Vec<Rule>, ConfigError> {
    let mut rules: Vec<Rule> = Vec::new();
    for section in sections {
        let rule = rule(section, &rules)?;
        rules.push(rule);
    }
    Ok(if rules.is_empty() { Rule::defaults() } else { rules })
}

fn rule(mut section: Section<'_>, before: &[Rule]) -> Result<Rule, ConfigError> {
    let name = section.parsed("name", name)?;
    let name = section.required("name", name)?;
    if before.iter().any(|rule| rule.name == name) {
        return Err(section.wrong(None, "name", format!("there are two rules with the name `{name}`")));
    }
    if before.len() == RULES_MAX {
        return Err(section.wrong(None, "name", format!("there are more than {RULES_MAX} rules")));
    }
    let kind = section.text("sign")?;
    let kind = section.required("sign", kind)?;
    let then = section.parsed("then", containment)?.unwrap_or(Containment::Alert);
    let sign = match kind.as_str() {
        "refusals" => {
            let (count, within_s) = (count(&mut section)?, within(&mut section)?);
            Sign::Refusals { count, within_s }
        }
        "calls" => {
            let (count, within_s) = (count(&mut section)?, within(&mut section)?);
            Sign::Calls { count, within_s }
        }
        "bytes" => {
            let (count, within_s) = (count(&mut section)?, within(&mut section)?);
            Sign::Bytes { count, within_s }
        }
        "first_use" => Sign::FirstUse { after: section.parsed("after", number)?.unwrap_or(100) },
        "more_than_usual" => {
            let factor = section.parsed("factor", number)?.unwrap_or(10);
            Sign::MoreThanUsual { factor, count: count(&mut section)? }
        }
        "outside_hours" => {
            let hours = section.parsed("hours", Hours::parse)?;
            Sign::OutsideHours(section.required("hours", hours)?)
        }
        "canary" => {
            let names: BTreeSet<_> =
                section.list("credentials", CredentialName::parse)?.into_iter().collect();
            if names.is_empty() {
                return Err(section.wrong(
                    None,
                    "credentials",
                    "a canary is a credential that nobody has a reason to use: name one",
                ));
            }
            Sign::Canary(names)
        }
        "second_place" => Sign::SecondPlace,
        other => {
            let known =
                "refusals, calls, bytes, first_use, more_than_usual, outside_hours, canary or second_place";
            return Err(section.wrong(None, "sign", format!("`{other}` is no sign: write {known}")));
        }
    };
    section.finish()?;
    Ok(Rule { name, sign, then })
}

fn name(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=RULE_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a rule's name is 1 to 63 lower-case letters, digits and `-`")
    }
}

fn containment(text: &str) -> Result<Containment, &'static str> {
    let found = Containment::ALL.into_iter().find(|then| then.as_str() == text);
    found.ok_or("write alert, ask, suspend_task, revoke_task or suspend_agent")
}

fn number(text: &str) -> Result<u64, &'static str> {
    text.parse().ok().filter(|n| *n > 0).ok_or("write a number from 1 on, in quotes")
}

fn count(section: &mut Section<'_>) -> Result<u64, ConfigError> {
    let count = section.parsed("count", number)?;
    section.required("count", count)
}

fn within(section: &mut Section<'_>) -> Result<u64, ConfigError> {
    let within = section.parsed("within", |text| match duration::parse_s(text)? {
        0 => Err("write a time from 1s on".to_owned()),
        seconds if seconds <= WITHIN_S_MAX => Ok(seconds),
        _ => Err(format!("a rule looks back for at most {}", duration::show_s(WITHIN_S_MAX))),
    })?;
    section.required("within", within)
}
