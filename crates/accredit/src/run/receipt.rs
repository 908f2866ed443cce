//! The receipt: what a task did, on a few lines, from the ledger.

use accredit_api::task::{Receipt, ReceiptLine, TaskStatus};

use crate::config::duration;

/// The lines that a person reads when a task is over.
pub(crate) fn text(receipt: &Receipt) -> Vec<String> {
    let task = &receipt.task;
    let duration = duration::show_s(receipt.duration_ms / 1_000);
    let mut head = format!("task {} {} {duration}", task.id, standing(task.status));
    head += &format!(
        " · {} of {}",
        count(receipt.uses, "use"),
        count(receipt.credentials.len() as u64, "credential")
    );
    head += &format!(" · {} refused", receipt.refused);
    if receipt.asked > 0 {
        head += &format!(" · {} waiting for a person", receipt.asked);
    }
    let width = receipt.resources.iter().map(|r| r.resource.len()).max().unwrap_or(0);
    let mut lines = vec![head];
    lines.extend(receipt.resources.iter().map(|r| format!("  {:<width$}  {}", r.resource, did(r))));
    lines.push(format!("  why  accredit why {}     proof  accredit audit verify {}", task.id, task.id));
    lines
}

fn standing(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Proposed => "was proposed",
        TaskStatus::Active => "has been running for",
        TaskStatus::Completed => "ended after",
        TaskStatus::Failed => "failed after",
        TaskStatus::Expired => "expired after",
        TaskStatus::Revoked => "was revoked after",
    }
}

fn did(line: &ReceiptLine) -> String {
    let parts =
        [(line.reads, "read"), (line.writes, "write"), (line.deletes, "delete"), (line.others, "other")];
    let mut texts: Vec<String> =
        parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(n, what)).collect();
    if line.refused > 0 {
        texts.push(format!("{} refused", line.refused));
    }
    if texts.is_empty() {
        texts.push("nothing".to_owned());
    }
    format!("{} ({})", texts.join(", "), bytes(line.bytes))
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Bytes in the largest unit that leaves at least one.
fn bytes(n: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|(_, size)| n >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", n / size, n % size * 10 / size),
        None => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use accredit_api::task::{Boundary, Task};

    #[test]
    fn a_receipt_says_what_was_used_where() {
        let task = Task {
            id: "t_7q2f".to_owned(),
            status: TaskStatus::Completed,
            agent: "shop-coder".to_owned(),
            instance: "i".to_owned(),
            attestation: "key".to_owned(),
            purpose: "fix checkout".to_owned(),
            workflow: None,
            requested_by: None,
            parent: None,
            template: None,
            boundary: Boundary::default(),
            held: true,
            restraint: None,
            finding: None,
            proposed_at: String::new(),
            started_at: None,
            expires_at: None,
            ended_at: None,
            ended_because: None,
        };
        let line = |resource: &str, reads, refused, bytes| ReceiptLine {
            resource: resource.to_owned(),
            reads,
            writes: 0,
            deletes: 0,
            others: 0,
            refused,
            bytes,
        };
        let receipt = Receipt {
            task,
            duration_ms: 2_460_000,
            uses: 14,
            refused: 1,
            asked: 0,
            credentials: vec!["github".to_owned()],
            resources: vec![line("github", 14, 0, 1_234_567), line("billing", 0, 1, 0)],
            last_entry: Some(9),
        };
        assert_eq!(
            text(&receipt),
            [
                "task t_7q2f ended after 41m · 14 uses of 1 credential · 1 refused",
                "  github   14 reads (1.2 MB)",
                "  billing  1 refused (0 B)",
                "  why  accredit why t_7q2f     proof  accredit audit verify t_7q2f",
            ]
        );
    }
}
