//! The table of costs.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::calls::Calls;
use crate::peers::Peer;
use crate::scenario::{Goal, Scenario, Unit};

/// The costs of every proxy in every scenario.
pub(crate) struct Table {
    peers: Vec<&'static str>,
    lines: Vec<Line>,
}

struct Line {
    scenario: &'static Scenario,
    /// One list for each proxy.
    costs: Vec<Vec<f64>>,
    calls: Vec<Option<Calls>>,
}

impl Table {
    pub(crate) fn new(peers: &[Peer], scenarios: &[&'static Scenario]) -> Self {
        let line = |scenario: &&'static Scenario| Line {
            scenario,
            costs: peers.iter().map(|_| Vec::new()).collect(),
            calls: peers.iter().map(|_| None).collect(),
        };
        Self {
            peers: peers.iter().map(|peer| peer.name).collect(),
            lines: scenarios.iter().map(line).collect(),
        }
    }

    /// Adds what the proxy at this place has cost.
    pub(crate) fn add(&mut self, scenario: &str, peer: usize, cost: f64) {
        if let Some(line) = self.line(scenario) {
            line.costs[peer].push(cost);
        }
    }

    /// Adds the system calls that it has made.
    pub(crate) fn add_calls(&mut self, scenario: &str, peer: usize, calls: Calls) {
        if let Some(line) = self.line(scenario) {
            line.calls[peer] = Some(calls);
        }
    }

    fn line(&mut self, scenario: &str) -> Option<&mut Line> {
        self.lines
            .iter_mut()
            .find(|line| line.scenario.name == scenario)
    }

    pub(crate) fn print(&self, rounds: usize, notes: &BTreeSet<String>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self
            .lines
            .iter()
            .any(|line| line.calls.iter().any(Option::is_some))
        {
            self.print_calls(&mut out)?;
        } else {
            self.print_costs(&mut out, rounds)?;
        }
        for note in notes {
            writeln!(out, "{note}")?;
        }
        Ok(())
    }

    fn print_costs(&self, out: &mut impl Write, rounds: usize) -> io::Result<()> {
        writeln!(
            out,
            "Processor time and memory of the proxy: median of {rounds} rounds (least–most)\n"
        )?;
        writeln!(out, "| | {} | goal |", self.peers.join(" | "))?;
        writeln!(out, "|---|{}---|", "--:|".repeat(self.peers.len()))?;
        for line in &self.lines {
            let unit = match line.scenario.unit {
                Unit::Micros => "µs",
                Unit::PerGib => "s/GiB",
                Unit::Kib => "KiB",
            };
            let cells: Vec<String> = line.costs.iter().map(|costs| cell(costs)).collect();
            let title = line.scenario.title;
            let goals = self.goals(line);
            writeln!(out, "| {title}, {unit} | {} | {goals} |", cells.join(" | "))?;
        }
        writeln!(out)
    }

    /// What relais reaches of each goal.
    fn goals(&self, line: &Line) -> String {
        let medians: Vec<(&str, f64)> = self
            .peers
            .iter()
            .zip(&line.costs)
            .filter(|(_, costs)| !costs.is_empty())
            .map(|(name, costs)| (*name, median(costs)))
            .collect();
        let of = |name: &str| {
            medians
                .iter()
                .find(|(have, _)| *have == name)
                .map(|(_, cost)| *cost)
        };
        let Some(own) = of("relais") else {
            return String::new();
        };
        let best = medians
            .iter()
            .filter(|(name, _)| *name != "relais")
            .map(|(_, cost)| *cost);
        let best = best.min_by(f64::total_cmp);
        let goal = |goal: &Goal| {
            let (name, other, most) = match goal {
                Goal::Best(most) => ("best", best?, *most),
                Goal::Of(name, most) => (*name, of(name)?, *most),
                Goal::Most(most) => return Some(format!("≤ {most}{}", mark(own, *most))),
            };
            let ratio = own / other;
            Some(format!(
                "{ratio:.2} of {name}, ≤ {most}{}",
                mark(ratio, most)
            ))
        };
        let all: Vec<String> = line.scenario.goals.iter().filter_map(goal).collect();
        all.join("; ")
    }

    fn print_calls(&self, out: &mut impl Write) -> io::Result<()> {
        for line in &self.lines {
            writeln!(out, "{}, system calls per operation:", line.scenario.title)?;
            for (name, calls) in self.peers.iter().zip(&line.calls) {
                if let Some(calls) = calls {
                    writeln!(out, "  {name:<8} {calls}")?;
                }
            }
        }
        writeln!(out)
    }
}

/// Says whether a goal is reached.
fn mark(have: f64, most: f64) -> &'static str {
    if have <= most { " ✓" } else { "" }
}

/// Prints one line.
pub(crate) fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median with the least and the greatest value.
fn cell(values: &[f64]) -> String {
    let sorted = sorted(values);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
        return "–".to_owned();
    };
    let places = if *most < 10.0 { 2 } else { 1 };
    let median = median(values);
    if values.len() == 1 {
        return format!("{median:.places$}");
    }
    format!("{median:.places$} ({least:.places$}–{most:.places$})")
}

#[test]
fn a_cell_has_the_median_and_the_range() {
    assert_eq!(cell(&[13.0, 11.0, 12.04]), "12.0 (11.0–13.0)");
    assert_eq!(cell(&[1.5]), "1.50");
    assert_eq!(cell(&[]), "–");
}
