//! Handlers of the directives that set one value each.

use relais_conf::Text;
use relais_policy::{Overrides, Problem, SetResult, Slot};

use super::Proxy;
use super::via::Via;
use crate::values;

/// The handler of `ProxyErrorOverride`.
pub(super) fn set_overrides(slot: &mut Slot<'_, Proxy>, words: &[Text]) -> SetResult {
    let Some((switch, codes)) = words.split_first() else {
        return Err(Problem::new("ProxyErrorOverride takes On or Off"));
    };
    let on = values::on_off(switch, "ProxyErrorOverride")?;
    let statuses = codes
        .iter()
        .map(|code| {
            let number = values::small(code, "ProxyErrorOverride", 400..=599)?;
            Ok(u16::try_from(number).unwrap_or(u16::MAX))
        })
        .collect::<Result<Vec<u16>, Problem>>()?;
    let overrides = match (on, codes) {
        (true, []) => Overrides::Errors,
        (true, _) => Overrides::Listed(statuses.into()),
        (false, []) => Overrides::None,
        (false, [code, ..]) => {
            return Err(Problem::at(code.span(), "statuses stand behind On only"));
        }
    };
    slot.section.overrides = Some(overrides);
    Ok(())
}

/// The handler of `ProxyVia`.
pub(super) fn set_via(slot: &mut Slot<'_, Proxy>, word: &Text) -> SetResult {
    const NAMES: [&str; 4] = ["Off", "On", "Full", "Block"];
    const VALUES: [Via; 4] = [Via::Off, Via::On, Via::Full, Via::Block];
    let index = values::choice(word, "ProxyVia", &NAMES)?;
    slot.host.via = VALUES.get(index).copied();
    Ok(())
}

/// The handler of `ProxyMaxForwards`.
pub(super) fn set_max_forwards(slot: &mut Slot<'_, Proxy>, word: &Text) -> SetResult {
    let digits = usize::from(word.bytes().starts_with(b"-"));
    let number = word.slice(digits..word.len());
    let number = values::number(&number, "ProxyMaxForwards", 0..=u64::from(u32::MAX))?;
    slot.host.max_forwards = Some((digits == 0).then_some(number));
    Ok(())
}

/// The handler of `ProxyBadHeader`.
pub(super) fn set_bad_header(slot: &mut Slot<'_, Proxy>, word: &Text) -> SetResult {
    if word.eq_ignore_case("StartBody") {
        return Err(Problem::at(
            word.span(),
            "StartBody takes half of a head for content, which relais does not do",
        )
        .with_help("Ignore leaves the line out"));
    }
    let index = values::choice(word, "ProxyBadHeader", &["IsError", "Ignore"])?;
    slot.host.skip_bad_fields = Some(index == 1);
    Ok(())
}

/// The handler of `ProxySourceAddress`.
pub(super) fn set_source(slot: &mut Slot<'_, Proxy>, word: &Text) -> SetResult {
    let address = word.lossy().parse();
    slot.host.source = Some(
        address.map_err(|_| Problem::at(word.span(), "ProxySourceAddress takes an IP address"))?,
    );
    Ok(())
}
