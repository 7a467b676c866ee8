//! The directives of mod_ssl, and how their arguments are read.

use std::sync::Arc;

use relais_conf::{Diagnostic, Text};
use relais_expr::Expression;
use relais_policy::tls::{CrlCheck, FileSpec, SniPolicy, Verify};
use relais_policy::{Context, Directive, Problem, Set, SetResult, Slot};

use super::protocols::protocols;
use super::{Host, Side, Ssl, ciphers};
use crate::values;

pub(super) const DIRECTIVES: &[Directive<Ssl>] = &[
    Directive {
        name: "SSLEngine",
        syntax: "SSLEngine on|off",
        context: Context::HOST,
        default: Some("off"),
        doc: "Whether the server speaks TLS on its ports.",
        accepts: &["SSLEngine on", "SSLEngine Off"],
        refuses: &["SSLEngine", "SSLEngine optional", "SSLEngine maybe"],
        set: Set::Take1(engine),
    },
    Directive {
        name: "SSLCertificateFile",
        syntax: "SSLCertificateFile file-path",
        context: Context::HOST,
        default: None,
        doc: "The certificate of the server, with its chain behind it; several of them for several kinds of key.",
        accepts: &["SSLCertificateFile /etc/ssl/x"],
        refuses: &["SSLCertificateFile", "SSLCertificateFile a b"],
        set: Set::Take1(|slot, word| {
            slot.host.certificates.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLCertificateKeyFile",
        syntax: "SSLCertificateKeyFile file-path",
        context: Context::HOST,
        default: None,
        doc: "The private key of the certificate of the same place; without it the key is in the certificate's file.",
        accepts: &["SSLCertificateKeyFile /etc/ssl/x"],
        refuses: &["SSLCertificateKeyFile", "SSLCertificateKeyFile a b"],
        set: Set::Take1(|slot, word| {
            slot.host.keys.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLCertificateChainFile",
        syntax: "SSLCertificateChainFile file-path",
        context: Context::HOST,
        default: None,
        doc: "More certificates to show behind the server's own.",
        accepts: &["SSLCertificateChainFile /etc/ssl/x"],
        refuses: &["SSLCertificateChainFile", "SSLCertificateChainFile a b"],
        set: Set::Take1(|slot, word| {
            slot.host.chain = Some(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLCertificateWatch",
        syntax: "SSLCertificateWatch on|off",
        context: Context::HOST,
        default: Some("off"),
        doc: "Whether the files of certificates, keys, trusted certificates and revocation lists are read again when \
              they change, without a reload. This directive is relais' own.",
        accepts: &["SSLCertificateWatch on", "SSLCertificateWatch Off"],
        refuses: &["SSLCertificateWatch", "SSLCertificateWatch x"],
        set: Set::Flag(|slot, on| {
            slot.host.watch = Some(on);
            Ok(())
        }),
    },
    Directive {
        name: "SSLPassPhraseDialog",
        syntax: "SSLPassPhraseDialog builtin|exec:program",
        context: Context::SERVER,
        default: Some("builtin"),
        doc: "The program that tells the pass phrase of an encrypted key.",
        accepts: &[
            "SSLPassPhraseDialog builtin",
            "SSLPassPhraseDialog exec:/bin/phrase",
        ],
        refuses: &["SSLPassPhraseDialog", "SSLPassPhraseDialog |/bin/phrase"],
        set: Set::Take1(pass_phrase),
    },
    Directive {
        name: "SSLProtocol",
        syntax: "SSLProtocol [+|-]protocol ...",
        context: Context::HOST,
        default: Some("all -SSLv3"),
        doc: "The protocol versions that clients may speak.",
        accepts: &[
            "SSLProtocol all -SSLv3 -TLSv1 -TLSv1.1",
            "SSLProtocol -all +TLSv1.2 +TLSv1.3",
            "SSLProtocol TLSv1.3",
        ],
        refuses: &[
            "SSLProtocol",
            "SSLProtocol SSLv3",
            "SSLProtocol TLSv1 TLSv1.1",
            "SSLProtocol -all",
            "SSLProtocol tls",
        ],
        set: Set::Words(|slot, words| {
            let set = protocols("SSLProtocol", words, slot.diagnostics)?;
            slot.host.server.protocols = Some(set);
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyProtocol",
        syntax: "SSLProxyProtocol [+|-]protocol ...",
        context: Context::HOST,
        default: Some("all -SSLv3"),
        doc: "The protocol versions that origins may speak.",
        accepts: &[
            "SSLProxyProtocol all -SSLv3 -TLSv1 -TLSv1.1",
            "SSLProxyProtocol -all +TLSv1.2 +TLSv1.3",
            "SSLProxyProtocol TLSv1.3",
        ],
        refuses: &[
            "SSLProxyProtocol",
            "SSLProxyProtocol SSLv3",
            "SSLProxyProtocol TLSv1 TLSv1.1",
            "SSLProxyProtocol -all",
            "SSLProxyProtocol tls",
        ],
        set: Set::Words(|slot, words| {
            let set = protocols("SSLProxyProtocol", words, slot.diagnostics)?;
            slot.host.proxy.protocols = Some(set);
            Ok(())
        }),
    },
    Directive {
        name: "SSLCipherSuite",
        syntax: "SSLCipherSuite [protocol] cipher-spec",
        context: Context::ANY,
        default: Some("DEFAULT"),
        doc: "The cipher suites that clients may use, as OpenSSL lists them.",
        accepts: &[
            "SSLCipherSuite HIGH:!aNULL:!MD5",
            "SSLCipherSuite TLSv1.3 TLS_AES_128_GCM_SHA256",
            "SSLCipherSuite SSL ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-SHA",
        ],
        refuses: &[
            "SSLCipherSuite",
            "SSLCipherSuite AES128-SHA",
            "SSLCipherSuite TLSv1.3 TLS_AES_128_CCM_SHA256",
            "SSLCipherSuite TLSv1.1 HIGH",
        ],
        set: Set::Take12(|slot, first, second| {
            whole_host(slot)?;
            cipher_suite(slot, "SSLCipherSuite", first, second, |host| {
                &mut host.server
            })
        }),
    },
    Directive {
        name: "SSLProxyCipherSuite",
        syntax: "SSLProxyCipherSuite [protocol] cipher-spec",
        context: Context::HOST,
        default: Some("ALL:!ADH:RC4+RSA:+HIGH:+MEDIUM:+LOW:+EXP"),
        doc: "The cipher suites that origins may use, as OpenSSL lists them.",
        accepts: &["SSLProxyCipherSuite HIGH:!aNULL"],
        refuses: &["SSLProxyCipherSuite", "SSLProxyCipherSuite RC4"],
        set: Set::Take12(|slot, first, second| {
            cipher_suite(slot, "SSLProxyCipherSuite", first, second, |host| {
                &mut host.proxy
            })
        }),
    },
    Directive {
        name: "SSLHonorCipherOrder",
        syntax: "SSLHonorCipherOrder on|off",
        context: Context::HOST,
        default: Some("off"),
        doc: "Whether the server's order of cipher suites counts, and not the client's.",
        accepts: &["SSLHonorCipherOrder on", "SSLHonorCipherOrder Off"],
        refuses: &["SSLHonorCipherOrder", "SSLHonorCipherOrder x"],
        set: Set::Flag(|slot, on| {
            slot.host.honor_order = Some(on);
            Ok(())
        }),
    },
    Directive {
        name: "SSLSessionTickets",
        syntax: "SSLSessionTickets on|off",
        context: Context::HOST,
        default: Some("on"),
        doc: "Whether clients may resume sessions by tickets; relais makes and rotates the keys itself.",
        accepts: &["SSLSessionTickets on", "SSLSessionTickets Off"],
        refuses: &["SSLSessionTickets", "SSLSessionTickets x"],
        set: Set::Flag(|slot, on| {
            slot.host.tickets = Some(on);
            Ok(())
        }),
    },
    Directive {
        name: "SSLStrictSNIVHostCheck",
        syntax: "SSLStrictSNIVHostCheck on|off",
        context: Context::HOST,
        default: Some("off"),
        doc: "Whether a client must say in the handshake which host it wants.",
        accepts: &["SSLStrictSNIVHostCheck on", "SSLStrictSNIVHostCheck Off"],
        refuses: &["SSLStrictSNIVHostCheck", "SSLStrictSNIVHostCheck x"],
        set: Set::Flag(|slot, on| {
            slot.host.strict_sni = Some(on);
            Ok(())
        }),
    },
    Directive {
        name: "SSLVHostSNIPolicy",
        syntax: "SSLVHostSNIPolicy strict|secure|authonly|insecure",
        context: Context::SERVER,
        default: Some("secure"),
        doc: "Whether a request may be for another host than the one that its handshake was for; if not, 421.",
        accepts: &[
            "SSLVHostSNIPolicy strict",
            "SSLVHostSNIPolicy secure",
            "SSLVHostSNIPolicy authonly",
            "SSLVHostSNIPolicy insecure",
        ],
        refuses: &["SSLVHostSNIPolicy", "SSLVHostSNIPolicy always"],
        set: Set::Take1(|slot, word| {
            const ALL: [SniPolicy; 4] = [
                SniPolicy::Strict,
                SniPolicy::Secure,
                SniPolicy::AuthOnly,
                SniPolicy::Insecure,
            ];
            let names = ["strict", "secure", "authonly", "insecure"];
            let index = values::choice(word, "SSLVHostSNIPolicy", &names)?;
            slot.host.sni_policy = ALL.get(index).copied();
            Ok(())
        }),
    },
    Directive {
        name: "SSLSessionCache",
        syntax: "SSLSessionCache type",
        context: Context::SERVER,
        default: Some("none"),
        doc: "Whether sessions are remembered in memory so that clients can resume them without tickets.",
        accepts: &[
            "SSLSessionCache none",
            "SSLSessionCache nonenotnull",
            "SSLSessionCache shmcb:/run/ssl_scache(512000)",
            "SSLSessionCache dbm:/run/x",
        ],
        refuses: &["SSLSessionCache", "SSLSessionCache disk:/x"],
        set: Set::Take1(session_cache),
    },
    Directive {
        name: "SSLSessionCacheTimeout",
        syntax: "SSLSessionCacheTimeout seconds",
        context: Context::HOST,
        default: Some("300"),
        doc: "How long a session may be resumed.",
        accepts: &["SSLSessionCacheTimeout 300"],
        refuses: &["SSLSessionCacheTimeout", "SSLSessionCacheTimeout x"],
        set: Set::Take1(|slot, word| {
            slot.host.session_timeout = Some(values::seconds(word, "SSLSessionCacheTimeout", 0)?);
            let note = "SSLSessionCacheTimeout has no effect here: sessions are kept by number, tickets for 12 hours at the most";
            slot.diagnostics
                .push(Diagnostic::note("RC0203", slot.place.line, note));
            Ok(())
        }),
    },
    Directive {
        name: "SSLSessionTicketKeyFile",
        syntax: "SSLSessionTicketKeyFile file-path",
        context: Context::HOST,
        default: None,
        doc: "A key for tickets that several servers share; relais makes and rotates its own.",
        accepts: &["SSLSessionTicketKeyFile /etc/ssl/ticket.key"],
        refuses: &[],
        set: Set::Ignored(
            "relais makes ticket keys itself and rotates them, so sessions are not resumed across servers",
        ),
    },
    Directive {
        name: "SSLVerifyClient",
        syntax: "SSLVerifyClient none|optional|require|optional_no_ca",
        context: Context::ANY,
        default: Some("none"),
        doc: "Whether clients must show a certificate that is signed by a trusted one.",
        accepts: &[
            "SSLVerifyClient none",
            "SSLVerifyClient require",
            "SSLVerifyClient optional",
        ],
        refuses: &["SSLVerifyClient", "SSLVerifyClient always"],
        set: Set::Take1(|slot, word| {
            whole_host(slot)?;
            slot.host.server.verify = Some(verify(word, "SSLVerifyClient")?);
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyVerify",
        syntax: "SSLProxyVerify none|optional|require|optional_no_ca",
        context: Context::HOST,
        default: Some("none"),
        doc: "Whether origins must show a certificate that is signed by a trusted one.",
        accepts: &[
            "SSLProxyVerify none",
            "SSLProxyVerify require",
            "SSLProxyVerify optional",
        ],
        refuses: &["SSLProxyVerify", "SSLProxyVerify always"],
        set: Set::Take1(|slot, word| {
            slot.host.proxy.verify = Some(verify(word, "SSLProxyVerify")?);
            Ok(())
        }),
    },
    Directive {
        name: "SSLVerifyDepth",
        syntax: "SSLVerifyDepth number",
        context: Context::ANY,
        default: Some("1"),
        doc: "How many certificates may stand between the shown one and a trusted one.",
        accepts: &["SSLVerifyDepth 10"],
        refuses: &["SSLVerifyDepth", "SSLVerifyDepth x"],
        set: Set::Take1(|slot, word| {
            whole_host(slot)?;
            slot.host.server.depth = Some(depth(slot, word, "SSLVerifyDepth")?);
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyVerifyDepth",
        syntax: "SSLProxyVerifyDepth number",
        context: Context::HOST,
        default: Some("1"),
        doc: "How many certificates may stand between the shown one and a trusted one.",
        accepts: &["SSLProxyVerifyDepth 10"],
        refuses: &["SSLProxyVerifyDepth", "SSLProxyVerifyDepth x"],
        set: Set::Take1(|slot, word| {
            slot.host.proxy.depth = Some(depth(slot, word, "SSLProxyVerifyDepth")?);
            Ok(())
        }),
    },
    Directive {
        name: "SSLCACertificateFile",
        syntax: "SSLCACertificateFile file-path",
        context: Context::HOST,
        default: None,
        doc: "Certificates that sign those of clients.",
        accepts: &["SSLCACertificateFile /etc/ssl/x"],
        refuses: &["SSLCACertificateFile", "SSLCACertificateFile a b"],
        set: Set::Take1(|slot, word| {
            slot.host.server.ca_files.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLCACertificatePath",
        syntax: "SSLCACertificatePath directory-path",
        context: Context::HOST,
        default: None,
        doc: "A folder of certificates that sign those of clients.",
        accepts: &["SSLCACertificatePath /etc/ssl/x"],
        refuses: &["SSLCACertificatePath", "SSLCACertificatePath a b"],
        set: Set::Take1(|slot, word| {
            slot.host.server.ca_paths.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLCADNRequestFile",
        syntax: "SSLCADNRequestFile file-path",
        context: Context::HOST,
        default: None,
        doc: "Certificates whose names clients are told to choose theirs by.",
        accepts: &["SSLCADNRequestFile /etc/ssl/x"],
        refuses: &["SSLCADNRequestFile", "SSLCADNRequestFile a b"],
        set: Set::Take1(|slot, word| {
            slot.host.hints.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLCADNRequestPath",
        syntax: "SSLCADNRequestPath directory-path",
        context: Context::HOST,
        default: None,
        doc: "A folder of certificates whose names clients are told to choose theirs by.",
        accepts: &["SSLCADNRequestPath /etc/ssl/x"],
        refuses: &["SSLCADNRequestPath", "SSLCADNRequestPath a b"],
        set: Set::Take1(|slot, word| {
            slot.host.hints.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLCARevocationFile",
        syntax: "SSLCARevocationFile file-path",
        context: Context::HOST,
        default: None,
        doc: "Lists of certificates of clients that are no longer good.",
        accepts: &["SSLCARevocationFile /etc/ssl/x"],
        refuses: &["SSLCARevocationFile", "SSLCARevocationFile a b"],
        set: Set::Take1(|slot, word| {
            slot.host.server.crl_files.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLCARevocationPath",
        syntax: "SSLCARevocationPath directory-path",
        context: Context::HOST,
        default: None,
        doc: "A folder of lists of certificates of clients that are no longer good.",
        accepts: &["SSLCARevocationPath /etc/ssl/x"],
        refuses: &["SSLCARevocationPath", "SSLCARevocationPath a b"],
        set: Set::Take1(|slot, word| {
            slot.host.server.crl_paths.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyCACertificateFile",
        syntax: "SSLProxyCACertificateFile file-path",
        context: Context::HOST,
        default: None,
        doc: "Certificates that sign those of origins.",
        accepts: &["SSLProxyCACertificateFile /etc/ssl/x"],
        refuses: &["SSLProxyCACertificateFile", "SSLProxyCACertificateFile a b"],
        set: Set::Take1(|slot, word| {
            slot.host.proxy.ca_files.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyCACertificatePath",
        syntax: "SSLProxyCACertificatePath directory-path",
        context: Context::HOST,
        default: None,
        doc: "A folder of certificates that sign those of origins.",
        accepts: &["SSLProxyCACertificatePath /etc/ssl/x"],
        refuses: &["SSLProxyCACertificatePath", "SSLProxyCACertificatePath a b"],
        set: Set::Take1(|slot, word| {
            slot.host.proxy.ca_paths.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyCARevocationFile",
        syntax: "SSLProxyCARevocationFile file-path",
        context: Context::HOST,
        default: None,
        doc: "Lists of certificates of origins that are no longer good.",
        accepts: &["SSLProxyCARevocationFile /etc/ssl/x"],
        refuses: &["SSLProxyCARevocationFile", "SSLProxyCARevocationFile a b"],
        set: Set::Take1(|slot, word| {
            slot.host.proxy.crl_files.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyCARevocationPath",
        syntax: "SSLProxyCARevocationPath directory-path",
        context: Context::HOST,
        default: None,
        doc: "A folder of lists of certificates of origins that are no longer good.",
        accepts: &["SSLProxyCARevocationPath /etc/ssl/x"],
        refuses: &["SSLProxyCARevocationPath", "SSLProxyCARevocationPath a b"],
        set: Set::Take1(|slot, word| {
            slot.host.proxy.crl_paths.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLCARevocationCheck",
        syntax: "SSLCARevocationCheck chain|leaf|none [no_crl_for_cert_ok]",
        context: Context::HOST,
        default: Some("none"),
        doc: "How much of a chain is looked up in the lists of revoked certificates.",
        accepts: &[
            "SSLCARevocationCheck chain",
            "SSLCARevocationCheck leaf",
            "SSLCARevocationCheck none",
        ],
        refuses: &["SSLCARevocationCheck", "SSLCARevocationCheck all"],
        set: Set::Take12(|slot, word, flag| {
            slot.host.server.crl_check = Some(crl_check(word, flag, "SSLCARevocationCheck")?);
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyCARevocationCheck",
        syntax: "SSLProxyCARevocationCheck chain|leaf|none [no_crl_for_cert_ok]",
        context: Context::HOST,
        default: Some("none"),
        doc: "How much of a chain is looked up in the lists of revoked certificates.",
        accepts: &[
            "SSLProxyCARevocationCheck chain",
            "SSLProxyCARevocationCheck leaf",
            "SSLProxyCARevocationCheck none",
        ],
        refuses: &["SSLProxyCARevocationCheck", "SSLProxyCARevocationCheck all"],
        set: Set::Take12(|slot, word, flag| {
            slot.host.proxy.crl_check = Some(crl_check(word, flag, "SSLProxyCARevocationCheck")?);
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyEngine",
        syntax: "SSLProxyEngine on|off",
        context: Context::HOST,
        default: Some("off"),
        doc: "Whether origins may be spoken to over TLS (https://, wss://).",
        accepts: &["SSLProxyEngine on"],
        refuses: &["SSLProxyEngine", "SSLProxyEngine x"],
        set: Set::Flag(|slot, on| {
            slot.host.proxy_engine = Some((on, slot.place.line));
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyCheckPeerName",
        syntax: "SSLProxyCheckPeerName on|off",
        context: Context::HOST,
        default: Some("on"),
        doc: "Whether the certificate of an origin must be for the name of its URL.",
        accepts: &["SSLProxyCheckPeerName on", "SSLProxyCheckPeerName Off"],
        refuses: &["SSLProxyCheckPeerName", "SSLProxyCheckPeerName x"],
        set: Set::Flag(|slot, on| {
            slot.host.check_name = Some(on);
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyCheckPeerCN",
        syntax: "SSLProxyCheckPeerCN on|off",
        context: Context::HOST,
        default: Some("on"),
        doc: "The older form of SSLProxyCheckPeerName, looked at where that is off.",
        accepts: &["SSLProxyCheckPeerCN on", "SSLProxyCheckPeerCN Off"],
        refuses: &["SSLProxyCheckPeerCN", "SSLProxyCheckPeerCN x"],
        set: Set::Flag(|slot, on| {
            slot.host.check_cn = Some(on);
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyCheckPeerExpire",
        syntax: "SSLProxyCheckPeerExpire on|off",
        context: Context::HOST,
        default: Some("on"),
        doc: "Whether the certificate of an origin must not have expired.",
        accepts: &["SSLProxyCheckPeerExpire on", "SSLProxyCheckPeerExpire Off"],
        refuses: &["SSLProxyCheckPeerExpire", "SSLProxyCheckPeerExpire x"],
        set: Set::Flag(|slot, on| {
            slot.host.check_expire = Some(on);
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyMachineCertificateFile",
        syntax: "SSLProxyMachineCertificateFile file-path",
        context: Context::HOST,
        default: None,
        doc: "Certificates with their keys, to be shown to origins that ask.",
        accepts: &["SSLProxyMachineCertificateFile /etc/ssl/x"],
        refuses: &[
            "SSLProxyMachineCertificateFile",
            "SSLProxyMachineCertificateFile a b",
        ],
        set: Set::Take1(|slot, word| {
            slot.host.machine.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyMachineCertificatePath",
        syntax: "SSLProxyMachineCertificatePath directory-path",
        context: Context::HOST,
        default: None,
        doc: "A folder of certificates with their keys, to be shown to origins that ask.",
        accepts: &["SSLProxyMachineCertificatePath /etc/ssl/x"],
        refuses: &[
            "SSLProxyMachineCertificatePath",
            "SSLProxyMachineCertificatePath a b",
        ],
        set: Set::Take1(|slot, word| {
            slot.host.machine_paths.push(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLProxyMachineCertificateChainFile",
        syntax: "SSLProxyMachineCertificateChainFile file-path",
        context: Context::HOST,
        default: None,
        doc: "Certificates that stand behind those that are shown to origins.",
        accepts: &["SSLProxyMachineCertificateChainFile /etc/ssl/x"],
        refuses: &[
            "SSLProxyMachineCertificateChainFile",
            "SSLProxyMachineCertificateChainFile a b",
        ],
        set: Set::Take1(|slot, word| {
            slot.host.machine_chain = Some(file(slot, word));
            Ok(())
        }),
    },
    Directive {
        name: "SSLOptions",
        syntax: "SSLOptions [+|-]option ...",
        context: Context::ANY,
        default: None,
        doc: "What a request is told of its connection (StdEnvVars, ExportCertData), and whether the client's \
              certificate stands for a user name (FakeBasicAuth).",
        accepts: &[
            "SSLOptions +StdEnvVars",
            "SSLOptions +StdEnvVars +ExportCertData -StrictRequire",
            "SSLOptions +OptRenegotiate",
            "SSLOptions +FakeBasicAuth",
        ],
        refuses: &["SSLOptions", "SSLOptions +Everything"],
        set: Set::Iterate(option),
    },
    Directive {
        name: "SSLRequireSSL",
        syntax: "SSLRequireSSL",
        context: Context::DIRECTORY,
        default: None,
        doc: "Requests without TLS are refused with 403.",
        accepts: &["SSLRequireSSL"],
        refuses: &[],
        set: Set::Raw(|slot, _| {
            slot.section.require_ssl = true;
            Ok(())
        }),
    },
    Directive {
        name: "SSLRequire",
        syntax: "SSLRequire expression",
        context: Context::DIRECTORY,
        default: None,
        doc: "A condition that requests over TLS have to meet; one that does not is refused with 403. The manual \
              recommends `Require expr` in its place.",
        accepts: &[
            "SSLRequire %{SSL_CIPHER_USEKEYSIZE} >= 128",
            "SSLRequire (%{SSL_CLIENT_S_DN_O} eq \"Org\" and %{SSL_CLIENT_S_DN_OU} in {\"A\", \"B\"})",
        ],
        refuses: &["SSLRequire", "SSLRequire %{SSL_CIPHER} eq"],
        set: Set::Raw(require),
    },
    Directive {
        name: "SSLUserName",
        syntax: "SSLUserName varname",
        context: Context::ANY,
        default: None,
        doc: "The variable of mod_ssl that names the user of a request.",
        accepts: &["SSLUserName SSL_CLIENT_S_DN_CN"],
        refuses: &["SSLUserName"],
        set: Set::Take1(|slot, word| {
            slot.section.user_name = Some(word.lossy().into_owned());
            Ok(())
        }),
    },
    Directive {
        name: "SSLOpenSSLConfCmd",
        syntax: "SSLOpenSSLConfCmd command value",
        context: Context::HOST,
        default: None,
        doc: "Settings of OpenSSL that have a counterpart: Curves, Groups.",
        accepts: &[
            "SSLOpenSSLConfCmd Curves X25519:P-256",
            "SSLOpenSSLConfCmd Groups P-384",
            "SSLOpenSSLConfCmd DHParameters /x",
        ],
        refuses: &[
            "SSLOpenSSLConfCmd",
            "SSLOpenSSLConfCmd Curves brainpoolP256r1",
        ],
        set: Set::Take2(conf_cmd),
    },
    Directive {
        name: "SSLCompression",
        syntax: "SSLCompression on|off",
        context: Context::HOST,
        default: Some("off"),
        doc: "Compression of TLS, which lets attackers read secrets.",
        accepts: &["SSLCompression off"],
        refuses: &["SSLCompression", "SSLCompression on"],
        set: Set::Flag(|_, on| {
            refuse_on(on, "SSLCompression", "relais never compresses TLS (CRIME)")
        }),
    },
    Directive {
        name: "SSLInsecureRenegotiation",
        syntax: "SSLInsecureRenegotiation on|off",
        context: Context::HOST,
        default: Some("off"),
        doc: "Renegotiation without RFC 5746.",
        accepts: &["SSLInsecureRenegotiation off"],
        refuses: &["SSLInsecureRenegotiation", "SSLInsecureRenegotiation on"],
        set: Set::Flag(|_, on| {
            refuse_on(on, "SSLInsecureRenegotiation", "relais never renegotiates")
        }),
    },
    Directive {
        name: "SSLFIPS",
        syntax: "SSLFIPS on|off",
        context: Context::SERVER,
        default: Some("off"),
        doc: "The FIPS mode of OpenSSL.",
        accepts: &["SSLFIPS off"],
        refuses: &["SSLFIPS", "SSLFIPS on"],
        set: Set::Flag(|_, on| {
            refuse_on(
                on,
                "SSLFIPS",
                "the cryptography in this build is not a validated module",
            )
        }),
    },
    Directive {
        name: "SSLRandomSeed",
        syntax: "SSLRandomSeed context source [bytes]",
        context: Context::SERVER,
        default: None,
        doc: "Where randomness comes from.",
        accepts: &[
            "SSLRandomSeed startup builtin",
            "SSLRandomSeed connect file:/dev/urandom 512",
        ],
        refuses: &[],
        set: Set::Ignored("the cryptography seeds itself from the system"),
    },
    Directive {
        name: "SSLCryptoDevice",
        syntax: "SSLCryptoDevice engine",
        context: Context::SERVER,
        default: Some("builtin"),
        doc: "A device that does the cryptography.",
        accepts: &["SSLCryptoDevice builtin"],
        refuses: &[],
        set: Set::Ignored("there are no engines"),
    },
    Directive {
        name: "SSLRenegBufferSize",
        syntax: "SSLRenegBufferSize bytes",
        context: Context::DIRECTORY,
        default: Some("131072"),
        doc: "Room for a body during a renegotiation.",
        accepts: &["SSLRenegBufferSize 262144"],
        refuses: &[],
        set: Set::Ignored("relais never renegotiates"),
    },
    Directive {
        name: "SSLStaplingCache",
        syntax: "SSLStaplingCache type",
        context: Context::SERVER,
        default: None,
        doc: "Where answers about revocation are kept.",
        accepts: &["SSLStaplingCache shmcb:/run/ocsp(128000)"],
        refuses: &[],
        set: Set::Ignored("answers are kept in memory"),
    },
    Directive {
        name: "SSLUseStapling",
        syntax: "SSLUseStapling on|off",
        context: Context::HOST,
        default: Some("off"),
        doc: "Whether proofs that the certificate is not revoked are sent along.",
        accepts: &["SSLUseStapling off", "SSLUseStapling on"],
        refuses: &["SSLUseStapling"],
        set: Set::Take1(|slot, word| {
            if values::on_off(word, "SSLUseStapling")? {
                let message = "relais staples no OCSP responses: clients ask the authority itself";
                let warning = Diagnostic::warning("RC0504", slot.place.line, message);
                slot.diagnostics.push(warning);
            }
            Ok(())
        }),
    },
];

fn file(slot: &Slot<'_, Ssl>, word: &Text) -> FileSpec {
    FileSpec {
        path: slot.place.path(word),
        span: word.span(),
    }
}

/// Says that rustls has a limit of its own, which is what holds.
fn depth(slot: &mut Slot<'_, Ssl>, word: &Text, name: &str) -> Result<u32, Problem> {
    let depth = values::small(word, name, 0..=100)?;
    let message = format!("{name} is not enforced: chains of up to six certificates are accepted");
    slot.diagnostics
        .push(Diagnostic::warning("RC0504", slot.place.line, message));
    Ok(depth)
}

/// Refuses a directive that httpd would renegotiate for: TLS 1.3 has no
/// renegotiation, and rustls none in TLS 1.2 and no certificate after the
/// handshake.
fn whole_host(slot: &Slot<'_, Ssl>) -> SetResult {
    if slot.place.section.is_none() {
        return Ok(());
    }
    let name = slot.place.name.lossy();
    Err(Problem::new(format!(
        "{name} holds for a whole host here: a handshake is over before the path is known, and relais does not renegotiate"
    ))
    .with_help(format!("put {name} outside of the section, or give the path a host of its own")))
}

fn engine(slot: &mut Slot<'_, Ssl>, word: &Text) -> SetResult {
    if word.eq_ignore_case("optional") {
        return Err(Problem::at(
            word.span(),
            "SSLEngine optional (TLS by an Upgrade in clear text) is unsafe, and gone from httpd since 2.4.64",
        ));
    }
    slot.host.engine = Some((values::on_off(word, "SSLEngine")?, slot.place.line));
    Ok(())
}

fn pass_phrase(slot: &mut Slot<'_, Ssl>, word: &Text) -> SetResult {
    let text = word.lossy();
    if &*text == "builtin" {
        // Nobody is asked: an encrypted key without a program is an error.
        slot.host.pass_phrase = None;
    } else if text.starts_with("exec:") {
        slot.host.pass_phrase = Some(slot.place.path(&word.slice(5..word.len())));
    } else {
        return Err(Problem::at(
            word.span(),
            format!("SSLPassPhraseDialog takes builtin or exec:PROGRAM, not `{text}`"),
        ));
    }
    Ok(())
}

fn cipher_suite(
    slot: &mut Slot<'_, Ssl>,
    name: &str,
    first: &Text,
    second: Option<&Text>,
    side: fn(&mut Host) -> &mut Side,
) -> SetResult {
    let (tls13, list) = match second {
        None => (false, first),
        Some(list) => (values::choice(first, name, &["SSL", "TLSv1.3"])? == 1, list),
    };
    if tls13 {
        let suites = ciphers::evaluate_tls13(&list.lossy()).map_err(|unknown| {
            Problem::at(list.span(), format!("{name}: relais has no TLS 1.3 suite `{unknown}`"))
                .with_help("TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256 and TLS_AES_128_GCM_SHA256 can be offered")
        })?;
        side(slot.host).suites13 = Some(suites);
        return Ok(());
    }
    let suites = ciphers::evaluate(&list.lossy());
    if suites.is_empty() {
        let nearest = ciphers::nearest(&list.lossy());
        return Err(Problem::at(
            list.span(),
            format!("{name} leaves no cipher suite that relais can offer"),
        )
        .with_help(format!("the nearest that can be offered is {nearest}")));
    }
    side(slot.host).suites = Some(suites);
    Ok(())
}

/// Bytes of one session in httpd's shared memory, roughly: what turns a size
/// in bytes into a number of sessions.
const SESSION_BYTES: u64 = 256;

fn session_cache(slot: &mut Slot<'_, Ssl>, word: &Text) -> SetResult {
    let text = word.lossy();
    let kind = text
        .split(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    slot.host.cache = Some(match kind.as_str() {
        "none" | "nonenotnull" => None,
        "shmcb" | "shm" | "shmht" | "dbm" | "dc" | "memcache" => {
            let size = text
                .rsplit_once('(')
                .and_then(|(_, rest)| rest.trim_end_matches(')').parse::<u64>().ok())
                .unwrap_or(512 * 1024);
            let sessions = (size / SESSION_BYTES).clamp(64, 1 << 20);
            Some(usize::try_from(sessions).unwrap_or(1 << 20))
        }
        _ => {
            return Err(Problem::at(
                word.span(),
                format!("SSLSessionCache has no type `{kind}`"),
            ));
        }
    });
    Ok(())
}

fn verify(word: &Text, name: &str) -> Result<Verify, Problem> {
    const ALL: [Verify; 4] = [
        Verify::None,
        Verify::Optional,
        Verify::Require,
        Verify::OptionalNoCa,
    ];
    let index = values::choice(
        word,
        name,
        &["none", "optional", "require", "optional_no_ca"],
    )?;
    Ok(ALL.get(index).copied().unwrap_or_default())
}

fn crl_check(word: &Text, flag: Option<&Text>, name: &str) -> Result<Option<CrlCheck>, Problem> {
    if let Some(flag) = flag {
        values::choice(flag, name, &["no_crl_for_cert_ok"])?;
        return Err(Problem::not_yet(
            flag.span(),
            format!("{name} no_crl_for_cert_ok is not implemented yet"),
        ));
    }
    Ok(
        match values::choice(word, name, &["none", "leaf", "chain"])? {
            0 => None,
            1 => Some(CrlCheck::Leaf),
            _ => Some(CrlCheck::Chain),
        },
    )
}

fn option(slot: &mut Slot<'_, Ssl>, word: &Text) -> SetResult {
    let text = word.lossy();
    let (on, name) = match text.strip_prefix('-') {
        Some(name) => (false, name),
        None => (true, text.trim_start_matches('+')),
    };
    match name.to_ascii_lowercase().as_str() {
        "stdenvvars" => slot.section.std_env = Some(on),
        "exportcertdata" => slot.section.export_certificates = Some(on),
        // A refusal is final in relais in any case.
        "strictrequire" => {}
        "optrenegotiate" | "legacydnstringformat" | "compatenvvars" => {
            let message = format!(
                "SSLOptions {name} has no effect here: there is nothing that it would change"
            );
            slot.diagnostics
                .push(Diagnostic::note("RC0203", word.span(), message));
        }
        "fakebasicauth" => slot.section.fake_basic = Some(on),
        _ => {
            return Err(Problem::at(
                word.span(),
                format!("SSLOptions: Illegal option '{name}'"),
            ));
        }
    }
    Ok(())
}

/// The rest of the line, with or without quotes around it.
fn require(slot: &mut Slot<'_, Ssl>, rest: &Text) -> SetResult {
    let text = rest.trim();
    if text.is_empty() {
        return Err(Problem::new(
            "SSLRequire takes one argument: the expression",
        ));
    }
    let expression = Expression::parse_ssl(text.bytes()).map_err(|error| {
        let message = format!("Cannot parse expression: {}", error.message);
        Problem::at(text.span_of(error.range), message)
    })?;
    let shown = text.lossy().into_owned();
    slot.section.requires.push((Arc::new(expression), shown));
    Ok(())
}

fn refuse_on(on: bool, name: &str, why: &str) -> SetResult {
    if on {
        return Err(Problem::new(format!("{name} on is refused: {why}")));
    }
    Ok(())
}

/// Key exchange groups by OpenSSL's names.
const GROUPS: &[(&str, &str)] = &[
    ("x25519", "X25519"),
    ("p-256", "P-256"),
    ("prime256v1", "P-256"),
    ("secp256r1", "P-256"),
    ("p-384", "P-384"),
    ("secp384r1", "P-384"),
    ("x25519mlkem768", "X25519MLKEM768"),
];

fn conf_cmd(slot: &mut Slot<'_, Ssl>, command: &Text, value: &Text) -> SetResult {
    let text = command.lossy();
    if !(text.eq_ignore_ascii_case("Curves")
        || text.eq_ignore_ascii_case("Groups")
        || text.eq_ignore_ascii_case("ECDHParameters"))
    {
        let message =
            format!("SSLOpenSSLConfCmd {text} has no effect here: it has no counterpart in rustls");
        slot.diagnostics
            .push(Diagnostic::warning("RC0504", slot.place.line, message));
        return Ok(());
    }
    let list = value.lossy();
    let known = |name: &str| {
        let name = name.trim_start_matches(['?', '*']).to_ascii_lowercase();
        GROUPS
            .iter()
            .find(|(openssl, _)| *openssl == name)
            .map(|(_, ours)| *ours)
    };
    slot.host.groups = list.split([':', '/']).filter_map(known).collect();
    if slot.host.groups.is_empty() && !list.eq_ignore_ascii_case("auto") {
        return Err(Problem::at(
            value.span(),
            format!("SSLOpenSSLConfCmd {text} leaves no group that relais can offer"),
        )
        .with_help("X25519, P-256, P-384 and X25519MLKEM768 can be offered"));
    }
    Ok(())
}
