//! mod_reqtimeout: how long a request may take to arrive.

use std::time::Duration;

use relais_conf::Text;
use relais_policy::{
    Context, Directive, HostSpec, Module, Problem, ReadTimeout, Set, SetResult, Slot,
};

use crate::values;

/// mod_reqtimeout.
pub struct Reqtimeout;

/// Per-server settings: one limit per stage.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Host {
    header: Option<ReadTimeout>,
    body: Option<ReadTimeout>,
    handshake: Option<ReadTimeout>,
}

/// The defaults of httpd since 2.4.39: `header=20-40,MinRate=500 body=20,MinRate=500`.
const HEADER: ReadTimeout = ReadTimeout {
    initial: Duration::from_secs(20),
    most: Some(Duration::from_secs(40)),
    min_rate: 500,
};
const BODY: ReadTimeout = ReadTimeout {
    initial: Duration::from_secs(20),
    most: None,
    min_rate: 500,
};

impl Module for Reqtimeout {
    const NAME: &'static str = "mod_reqtimeout";
    const IDENTIFIER: &'static str = "reqtimeout_module";
    type Host = Host;
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[Directive {
        name: "RequestReadTimeout",
        syntax: "RequestReadTimeout [handshake=timeout[-maxtimeout][,MinRate=rate]] [header=…] [body=…]",
        context: Context::HOST,
        default: Some("handshake=0 header=20-40,MinRate=500 body=20,MinRate=500"),
        doc: "How long the head and the body of a request may take to arrive; a slower client gets 408.",
        accepts: &[
            "RequestReadTimeout header=20-40,MinRate=500 body=20,minrate=500",
            "RequestReadTimeout header=10",
            "RequestReadTimeout body=0",
            "RequestReadTimeout handshake=5 header=5-10",
        ],
        refuses: &[
            "RequestReadTimeout",
            "RequestReadTimeout header",
            "RequestReadTimeout head=5",
            "RequestReadTimeout header=40-20",
            "RequestReadTimeout header=5,MinRate=0",
            "RequestReadTimeout header=5-10-15",
            "RequestReadTimeout header=5,Rate=1",
            "RequestReadTimeout body=x",
        ],
        set: Set::Iterate(read_timeout),
    }];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        Host {
            header: inner.header.or(outer.header),
            body: inner.body.or(outer.body),
            handshake: inner.handshake.or(outer.handshake),
        }
    }

    fn merge_section(_outer: &(), _inner: &()) {}

    fn finish_host(host: &Host, _section: &(), spec: &mut HostSpec) {
        let set = |stage: ReadTimeout| (!stage.initial.is_zero()).then_some(stage);
        spec.header_timeout = set(host.header.unwrap_or(HEADER));
        spec.body_timeout = set(host.body.unwrap_or(BODY));
    }
}

fn read_timeout(slot: &mut Slot<'_, Reqtimeout>, word: &Text) -> SetResult {
    let Some(equals) = word.bytes().iter().position(|&byte| byte == b'=') else {
        return Err(Problem::at(
            word.span(),
            "RequestReadTimeout takes STAGE=TIME",
        ));
    };
    let (stage, value) = (word.slice(0..equals), word.slice(equals + 1..word.len()));
    let limit = stage_limit(&value)?;
    match values::choice(
        &stage,
        "RequestReadTimeout",
        &["header", "body", "handshake"],
    )? {
        0 => slot.host.header = Some(limit),
        1 => slot.host.body = Some(limit),
        _ => slot.host.handshake = Some(limit),
    }
    Ok(())
}

/// `timeout[-maxtimeout][,MinRate=rate]`.
fn stage_limit(value: &Text) -> Result<ReadTimeout, Problem> {
    let comma = value
        .bytes()
        .iter()
        .position(|&byte| byte == b',')
        .unwrap_or(value.len());
    let (times, rate) = (value.slice(0..comma), value.slice(comma..value.len()));
    let dash = times
        .bytes()
        .iter()
        .position(|&byte| byte == b'-')
        .unwrap_or(times.len());
    let initial = values::seconds(&times.slice(0..dash), "RequestReadTimeout", 0)?;
    let most = match times.slice(dash + 1..times.len()) {
        none if dash == times.len() => (none, None).1,
        most => Some(values::seconds(&most, "RequestReadTimeout", 1)?),
    };
    if most.is_some_and(|most| most <= initial) {
        return Err(Problem::at(
            times.span(),
            "the second time must be larger than the first",
        ));
    }
    // A range without a rate grows by one second per byte.
    let min_rate = if rate.is_empty() {
        u32::from(most.is_some())
    } else {
        min_rate(&rate)?
    };
    Ok(ReadTimeout {
        initial,
        most,
        min_rate,
    })
}

fn min_rate(rate: &Text) -> Result<u32, Problem> {
    const PREFIX: &str = ",MinRate=";
    if !rate.slice(0..PREFIX.len()).eq_ignore_case(PREFIX) {
        return Err(Problem::at(
            rate.span(),
            "only `,MinRate=RATE` may follow the time",
        ));
    }
    values::small(
        &rate.slice(PREFIX.len()..rate.len()),
        "MinRate",
        1..=u32::MAX,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text;

    #[test]
    fn limits() {
        type Limit = (u64, Option<u64>, u32);
        let table: &[(&str, Option<Limit>)] = &[
            ("20-40,MinRate=500", Some((20, Some(40), 500))),
            ("20,MINRATE=500", Some((20, None, 500))),
            ("20", Some((20, None, 0))),
            ("20-40", Some((20, Some(40), 1))),
            ("0", Some((0, None, 0))),
            ("20-20", None),
            ("20-", None),
            ("20,", None),
            ("-20", None),
        ];
        for &(value, expected) in table {
            let found = stage_limit(&text(value)).ok().map(|limit| {
                (
                    limit.initial.as_secs(),
                    limit.most.map(|most| most.as_secs()),
                    limit.min_rate,
                )
            });
            assert_eq!(found, expected, "{value}");
        }
    }
}
