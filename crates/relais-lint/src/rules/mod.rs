//! The rules, one file each, and what several of them need.

mod access_of_httpd_22;
mod certificate_chain_file;
mod comment_behind_arguments;
mod connection_compared_whole;
mod dot_not_escaped;
mod encoded_question_mark;
mod env_of_no_variable;
mod exclusion_after;
mod forward_proxy;
mod forwarded_proto_of_the_other_port;
mod glued_authority;
mod header_for_the_wrong_side;
mod hop_by_hop_by_hand;
mod host_without_name;
mod missing_percent;
mod no_such_group;
mod no_tunnel_timeout;
mod old_tls_protocols;
mod origin_not_told_of_tls;
mod origin_not_verified;
mod pass_without_reverse;
mod polling_to_websocket;
mod port_443_without_tls;
mod reverse_differs;
mod reverse_websocket;
mod rewriting_is_off;
mod rule_after_last;
mod shadowed_pass;
mod slash_at_end;
mod slash_before_group;
mod tls_target_without_engine;
mod tls_without_certificate;
mod typographic_quotes;
mod unanchored_proxy;
mod unused_module;
mod upgrade_with_case;
mod websocket_without_proxy_flag;
mod websocket_without_upgrade;

use crate::Rule;

/// All rules, by their codes.
pub(crate) const ALL: &[Rule] = &[
    slash_before_group::RULE,
    slash_at_end::RULE,
    glued_authority::RULE,
    shadowed_pass::RULE,
    exclusion_after::RULE,
    rule_after_last::RULE,
    unanchored_proxy::RULE,
    websocket_without_upgrade::RULE,
    upgrade_with_case::RULE,
    connection_compared_whole::RULE,
    missing_percent::RULE,
    no_such_group::RULE,
    reverse_websocket::RULE,
    reverse_differs::RULE,
    env_of_no_variable::RULE,
    header_for_the_wrong_side::RULE,
    tls_without_certificate::RULE,
    port_443_without_tls::RULE,
    tls_target_without_engine::RULE,
    encoded_question_mark::RULE,
    no_tunnel_timeout::RULE,
    forward_proxy::RULE,
    unused_module::RULE,
    origin_not_told_of_tls::RULE,
    host_without_name::RULE,
    access_of_httpd_22::RULE,
    certificate_chain_file::RULE,
    pass_without_reverse::RULE,
    dot_not_escaped::RULE,
    origin_not_verified::RULE,
    old_tls_protocols::RULE,
    comment_behind_arguments::RULE,
    forwarded_proto_of_the_other_port::RULE,
    hop_by_hop_by_hand::RULE,
    polling_to_websocket::RULE,
    rewriting_is_off::RULE,
    websocket_without_proxy_flag::RULE,
    typographic_quotes::RULE,
];

/// Every path that covers a path for `ProxyPass`, the longest first: itself, and what ends at one of its slashes, with
/// the slash and without.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = (0..=path.len()).rev().filter(move |&end| {
        end == path.len()
            || path.get(end) == Some(&b'/')
            || (end > 0 && path.get(end - 1) == Some(&b'/'))
    });
    ends.filter_map(move |end| path.get(..end))
        .filter(|prefix| !prefix.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_cover() {
        let found: Vec<&[u8]> = prefixes(b"/a/b").collect();
        assert_eq!(found, [&b"/a/b"[..], b"/a/", b"/a", b"/"]);
    }
}
