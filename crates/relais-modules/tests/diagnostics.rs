//! Configurations and what is said about them: `testdata/**/*.diag`.

mod common;
mod fixtures;

#[test]
fn files() {
    fixtures::run_fixtures("diag", |_, parts| {
        let [config] = parts else {
            return "a fixture has two parts".to_owned();
        };
        let read = common::read(config);
        read.diagnostics.render(&read.loaded.sources)
    });
}
