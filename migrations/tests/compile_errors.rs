//! What the derive macros refuse, and with which words.

#[test]
fn what_cannot_be_stored_does_not_compile_and_says_why() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
