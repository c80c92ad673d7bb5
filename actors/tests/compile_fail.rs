//! What must not compile, and what the compiler says about it.

#[test]
fn what_is_easy_to_forget_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
