//! Sub-requests: what would become of a path or a file, without answering for
//! it (httpd's `ap_sub_req_lookup_uri` and `ap_sub_req_lookup_file`).
//!
//! A sub-request runs the phases of its request up to the fixups. Where one of
//! them needs an answer first, the request itself waits for it and asks again.

use crate::decision::Decision;
use crate::exchange::{Exchange, Flow, Stage};
use crate::uri;
use crate::walk::SectionSets;

/// A sub-request that has been carried out.
pub struct SubRequest<'s> {
    /// The request as the phases have left it.
    pub exchange: Exchange<'s>,
    /// The status that a phase has ended it with, else 200: whether there is a
    /// file only its handler would find out.
    pub status: u16,
}

/// Sub-requests inside of each other at the most.
const DEPTH_MAX: usize = 10;

impl<'a> Exchange<'a> {
    /// Whether this is a sub-request.
    #[must_use]
    pub fn is_subrequest(&self) -> bool {
        self.parent.is_some()
    }

    /// What becomes of a request for a URL path with a query. A relative one
    /// begins in the folder of this request's. `None` where no sub-request may
    /// be made, and while an answer is waited for.
    #[must_use]
    pub fn look_up_path(&self, target: &[u8]) -> Option<SubRequest<'_>> {
        let mut sub = self.sub_request()?;
        let (path, query) = uri::split_target(target);
        sub.query = query.map(<[u8]>::to_vec);
        let absolute;
        let path = if path.first() == Some(&b'/') {
            path
        } else {
            absolute = [folder(&self.path), path].concat();
            &absolute
        };
        match uri::normalise(path, self.host.path_rules(), &mut sub.path) {
            Ok(()) => sub.carried_out(Stage::Restarted),
            Err(error) => Some(SubRequest {
                exchange: sub,
                status: error.status(),
            }),
        }
    }

    /// What becomes of a request for a file. A relative name begins in the
    /// folder of this request's. `None` as for [`Self::look_up_path`].
    #[must_use]
    pub fn look_up_file(&self, name: &[u8]) -> Option<SubRequest<'_>> {
        let mut sub = self.sub_request()?;
        let own = folder(self.file.as_deref().unwrap_or(b"/"));
        let file = if name.first() == Some(&b'/') {
            name.to_vec()
        } else {
            [own, name].concat()
        };
        // The path of a file in the same folder is known.
        if let Some(rest) = file.strip_prefix(own).filter(|rest| !rest.contains(&b'/')) {
            sub.path = [folder(&self.path), rest].concat();
        }
        sub.file = Some(file);
        sub.carried_out(Stage::Map)
    }

    fn sub_request(&self) -> Option<Exchange<'_>> {
        let mut outer = self;
        for _ in 0..DEPTH_MAX {
            let Some(parent) = outer.parent else {
                return Some(self.beside());
            };
            // The rules that ask would ask again, and so on.
            if parent.path == outer.path {
                return None;
            }
            outer = parent;
        }
        None
    }
}

impl<'s> Exchange<'s> {
    fn carried_out(mut self, from: Stage) -> Option<SubRequest<'s>> {
        let sets = SectionSets::default();
        self.enter(from);
        let status = loop {
            match self.run_stage(&sets) {
                Ok(Stage::Respond) => break 200,
                Ok(next) => self.enter(next),
                Err(Flow::Wait(lookup)) => {
                    self.parent?.wait_for(lookup);
                    return None;
                }
                Err(Flow::Decide(Decision::Respond(respond))) => break respond.status,
                Err(Flow::Decide(Decision::Redirect { status, .. })) => break status,
                // An internal redirect is its handler's to make.
                Err(_) => break 200,
            }
        };
        Some(SubRequest {
            exchange: self,
            status,
        })
    }
}

/// A path up to its last slash, with it.
fn folder(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    path.get(..slash.map_or(0, |at| at + 1)).unwrap_or_default()
}
