//! Damaged configurations: whatever is read, nothing panics, every span is inside its file, and every diagnostic renders.

use relais_conf::{
    Diagnostics, Host, Item, Loaded, MemoryFiles, Options, SourceMap, Span, Text, load,
};

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
      Include sub/*.conf
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
    b"Include sub/a.conf\n",
    b"Include sub\n",
    b"Define HOST ${HOST}${HOST}\n",
    b"<IfVersion ",
    b"UnDefine HOST\n",
    b"\xef\xbb\xbf",
    b"[",
    b"*",
    b"$a",
];

struct Anything;

impl Host for Anything {
    fn load_module(&mut self, _: &Text, _: &Text, _: &mut Diagnostics) {}

    fn module_present(&self, name: &str) -> bool {
        name.len().is_multiple_of(2)
    }

    fn directive_known(&self, name: &str) -> bool {
        name.len().is_multiple_of(2)
    }
}

/// Marsaglia's xorshift with 64 bits.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.below(40)).min(length)
    }

    fn mutate(&mut self, text: &mut Vec<u8>) {
        let range = self.range(text.len());
        let part = PARTS[self.below(PARTS.len())];
        match self.below(5) {
            0 => drop(text.drain(range)),
            1 => drop(text.splice(range, part.iter().copied())),
            2 => text.extend_from_within(range),
            3 => {
                let copy = text[range].to_vec();
                let at = self.below(text.len() + 1);
                drop(text.splice(at..at, copy));
            }
            _ => drop(text.splice(range.start..range.start, part.iter().copied())),
        }
    }
}

fn read(text: &[u8]) -> Loaded {
    let files = MemoryFiles::new()
        .with("/etc/main.conf", text)
        .with("/etc/sub/a.conf", "Listen 1\n</Location>\n<Files x>");
    let options = Options {
        defines: vec![("FLAG".to_owned(), None)],
        ..Options::new("/etc/main.conf")
    };
    load(options, &files, &mut Anything)
}

fn check_span(span: Span, sources: &SourceMap) {
    let length = sources.get(span.file).text.len() as u32;
    assert!(
        span.start <= span.end && span.end <= length,
        "{span:?} in {length} bytes"
    );
}

fn check_text(text: &Text, sources: &SourceMap) {
    check_span(text.span(), sources);
    for word in text.words() {
        check_span(word.span(), sources);
        check_span(word.span_of(1..word.len()), sources);
        check_span(word.slice(1..3).span(), sources);
    }
}

fn check_items(items: &[Item], sources: &SourceMap) {
    for item in items {
        let (name, args, span) = match item {
            Item::Directive(directive) => (&directive.name, &directive.args, directive.span),
            Item::Section(section) => (&section.name, &section.args, section.span),
        };
        check_span(span, sources);
        check_text(name, sources);
        check_text(args, sources);
        if let Item::Section(section) = item {
            check_items(&section.items, sources);
        }
    }
}

#[test]
fn damaged_configurations() {
    let mut random = Random(0x5eed_1e55);
    let mut text = SAMPLE.as_bytes().to_vec();
    for round in 0..20_000 {
        if round % 12 == 0 || text.len() > 3 * SAMPLE.len() {
            text = SAMPLE.as_bytes().to_vec();
        }
        random.mutate(&mut text);
        let loaded = read(&text);
        check_items(&loaded.tree.items, &loaded.sources);
        for diagnostic in loaded.diagnostics.iter().take(20) {
            diagnostic
                .span
                .iter()
                .for_each(|span| check_span(*span, &loaded.sources));
            assert!(
                relais_conf::render_one(diagnostic, &loaded.sources)
                    .starts_with(diagnostic.severity.name())
            );
        }
    }
}

#[test]
fn the_sample_reads_well_apart_from_what_is_meant() {
    let loaded = read(
        SAMPLE
            .replace("$(port)\n", "$(port)>\n")
            .replace("sub/*.conf", "sub/*.none")
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
        ("IncludeOptional sub\n".repeat(10_100), "RC0105"),
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
