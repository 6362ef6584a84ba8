//! What was measured, for people and as JSON.

use super::measure::Measured;

/// A target: a system's ratio to another's.
pub(super) struct Target {
    pub(super) what: &'static str,
    pub(super) ratio: f64,
    pub(super) least: f64,
}

/// A table with a line for each system and its ratio to each of `bases`.
pub(super) fn table(all: &[Measured], bases: &[(&str, &Measured)]) -> String {
    let mut text =
        format!("{:<34} {:>10} {:>8} {:>8} {:>14}", "", "requests/s", "p50 ms", "p99 ms", "CPU µs/request");
    for (head, _) in bases {
        text.push_str(&format!(" {head:>15}"));
    }
    text.push('\n');
    for one in all {
        text.push_str(&format!(
            "{:<34} {:>10.0} {:>8.2} {:>8.2} {:>14.1}",
            one.name,
            one.median(|round| round.run.per_second),
            one.median(|round| round.run.p50),
            one.median(|round| round.run.p99),
            one.median(|round| round.cpu),
        ));
        for (_, base) in bases {
            text.push_str(&format!(" {:>15.2}", one.ratio(base)));
        }
        text.push('\n');
    }
    text
}

/// One line for each target: met or missed, with the figure.
pub(super) fn targets(targets: &[Target]) -> String {
    let line = |target: &Target| {
        let Target { what, ratio, least } = target;
        format!("{}  {what}: {ratio:.2}, target at least {least:.2}\n", target.word())
    };
    targets.iter().map(line).collect()
}

impl Target {
    fn met(&self) -> bool {
        self.ratio >= self.least
    }

    fn word(&self) -> &'static str {
        if self.met() { "met " } else { "MISS" }
    }
}

/// The same as JSON.
pub(super) fn json(all: &[Measured], bases: &[(&str, &Measured)], targets: &[Target]) -> String {
    let system = |one: &Measured| {
        let ratios: Vec<String> =
            bases.iter().map(|(_, base)| format!("\"{}\":{:.4}", base.key, one.ratio(base))).collect();
        format!(
            "\"{}\":{{\"requests_per_second\":{:.0},\"p50_ms\":{:.3},\"p99_ms\":{:.3},\"cpu_us\":{:.2},\"ratio\":{{{}}}}}",
            one.key,
            one.median(|round| round.run.per_second),
            one.median(|round| round.run.p50),
            one.median(|round| round.run.p99),
            one.median(|round| round.cpu),
            ratios.join(","),
        )
    };
    let target = |target: &Target| {
        let Target { what, ratio, least } = target;
        format!("{{\"what\":\"{what}\",\"ratio\":{ratio:.4},\"least\":{least},\"met\":{}}}", target.met())
    };
    format!(
        "{{\"systems\":{{{}}},\"targets\":[{}]}}",
        all.iter().map(system).collect::<Vec<_>>().join(","),
        targets.iter().map(target).collect::<Vec<_>>().join(","),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_says_so_with_its_figure() {
        let target = |ratio| Target { what: "x to y", ratio, least: 0.75 };
        assert_eq!(targets(&[target(0.80)]), "met   x to y: 0.80, target at least 0.75\n");
        assert_eq!(targets(&[target(0.50)]), "MISS  x to y: 0.50, target at least 0.75\n");
        assert!(!target(f64::NAN).met());
        assert_eq!(
            json(&[], &[], &[target(0.5)]),
            r#"{"systems":{},"targets":[{"what":"x to y","ratio":0.5000,"least":0.75,"met":false}]}"#
        );
    }
}
