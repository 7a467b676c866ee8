//! Damaged configurations: whatever is read, nothing panics, every span is inside its file, and every diagnostic renders.

use relais_conf::Item;
use relais_fuzz::{Damage, parser, read};

const SAMPLE: &str = r#"ServerRoot /etc
LoadModule rewrite_module modules/mod_rewrite.so
Define HOST example.com
<IfModule !missing.c>
  <VirtualHost *:80>
    ServerName ${HOST}
    <Location "/a \"b\"">
      RewriteRule ^/old/(.*)$ "/new/$1" \
        [R=301,L]
    </Location>
    <IfDefine HOST>
      Include extra*.conf
    </IfDefine>
  </VirtualHost>
</IfModule>
<Macro Site $name $(port)
  Listen $(port)
  ServerName $name.${HOST}
  <If "%{HTTP_HOST} == '$name'">
    Header set X 'é'
  </If>
</Macro>
<Macro Both $a>
  Use Site $a 80
</Macro>
Use Both one
<IfVersion >= 2.4>
  Use Site "two" 81
</IfVersion>
"#;

const PARTS: &[&[u8]] = &[
    b"<",
    b">",
    b"</",
    b"\\\n",
    b"\n",
    b"\r\n",
    b"\"",
    b"'",
    b"${",
    b"}",
    b"${HOST}",
    b"#",
    b"\0",
    b"\xff",
    b"\xc3",
    b"!",
    b" ",
    b"<IfDefine HOST>\n",
    b"</IfModule>\n",
    b"<Macro x $a>\n",
    b"</Macro>\n",
    b"Use Both 1\n",
    b"Include extra.conf\n",
    b"Include ext*\n",
    b"Define HOST ${HOST}${HOST}\n",
    b"<IfVersion ",
    b"UnDefine HOST\n",
    b"\xef\xbb\xbf",
    b"[",
    b"*",
    b"$a",
];

/// What is included, behind the configuration.
const EXTRA: &str = "\n----\nListen 1\n</Location>\n<Files x>";

#[test]
fn damaged_configurations() {
    let mut damage = Damage::new(0x5eed_1e55);
    let mut text = SAMPLE.as_bytes().to_vec();
    for round in 0..8_000 {
        if round % 12 == 0 || text.len() > 3 * SAMPLE.len() {
            text = SAMPLE.as_bytes().to_vec();
        }
        damage.apply(&mut text, PARTS);
        parser(&[&text, EXTRA.as_bytes()].concat());
    }
}

#[test]
fn the_sample_reads_well_apart_from_what_is_meant() {
    let loaded = read(
        SAMPLE
            .replace("$(port)\n", "$(port)>\n")
            .replace("extra*.conf", "extra*.none")
            .as_bytes(),
    );
    let codes: Vec<_> = loaded
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.code)
        .collect();
    assert_eq!(
        codes,
        ["RC0102"],
        "{}",
        loaded.diagnostics.render(&loaded.sources)
    );
}

fn depth(items: &[Item]) -> usize {
    let inner = items.iter().map(|item| match item {
        Item::Section(section) => 1 + depth(&section.items),
        Item::Directive(_) => 0,
    });
    inner.max().unwrap_or(0)
}

fn count(items: &[Item]) -> usize {
    let inner = items.iter().map(|item| match item {
        Item::Section(section) => count(&section.items),
        Item::Directive(_) => 1,
    });
    inner.sum()
}

#[test]
fn sections_without_end() {
    let (many, some) = (100_000, 5_000);
    let open = |name: &str, levels| format!("<{name}>\nListen 1\n").repeat(levels);
    // The text, the number of problems, and the number of directives that are kept.
    let cases = [
        (open("a", many), 201, many),
        (open("a", many) + &"</a>\n".repeat(many), 1, many),
        (
            open("a", some) + &"</xxxxxx>\n".repeat(some),
            some + 1,
            some,
        ),
        (open("IfDefine FLAG", some), 201, some),
        (open("IfDefine nope", some) + "</IfDefine>", 1, 0),
        (open("Macro a", some) + "</Macro>", 1, 0),
    ];
    for (index, (text, problems, kept)) in cases.into_iter().enumerate() {
        let loaded = read(text.as_bytes());
        assert_eq!(loaded.diagnostics.len(), problems, "case {index}");
        assert!(depth(&loaded.tree.items) <= 200, "case {index}");
        assert_eq!(count(&loaded.tree.items), kept, "case {index}");
    }
}

#[test]
fn growth_is_bounded() {
    let doubling: String = (1..40)
        .map(|n| format!("Define V{n} ${{V{}}}${{V{}}}\n", n - 1, n - 1))
        .collect();
    let macros: String = (1..40)
        .map(|n| format!("<Macro m{n}>\nUse m{}\nUse m{}\n</Macro>\n", n - 1, n - 1))
        .collect();
    let cases = [
        (
            format!("Define V0 x\n{doubling}Listen ${{V39}}\n"),
            "RC0115",
        ),
        (
            format!("<Macro m0>\nListen 1\n</Macro>\n{macros}Use m39\n"),
            "RC0130",
        ),
        ("Include main.conf\n".repeat(3), "RC0103"),
        ("IncludeOptional extra.conf\n".repeat(10_100), "RC0105"),
    ];
    for (text, code) in cases {
        let loaded = read(text.as_bytes());
        assert!(
            loaded
                .diagnostics
                .iter()
                .any(|diagnostic| diagnostic.code == code),
            "{code}"
        );
    }
}
