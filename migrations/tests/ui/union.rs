use annals_migrations::{Command, Event};

#[derive(Event)]
union Either {
    a: u32,
    b: f32,
}

#[derive(Command)]
union Other {
    a: u32,
    b: f32,
}

fn main() {}
