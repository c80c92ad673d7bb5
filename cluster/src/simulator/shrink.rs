use super::{Scenario, run};

/// The same scenario with as few and as short faults as still fail in the same way.
pub fn shrink(scenario: &Scenario) -> Scenario {
    let mut smallest = scenario.clone();
    let Some(kind) = failure(&smallest) else { return smallest };
    loop {
        let fewer = (0..smallest.faults.len()).map(|index| {
            let mut fewer = smallest.clone();
            fewer.faults.remove(index);
            fewer
        });
        let shorter = (0..smallest.faults.len()).map(|index| {
            let mut shorter = smallest.clone();
            let fault = &mut shorter.faults[index];
            fault.end = fault.begin + (fault.end - fault.begin) / 2;
            shorter
        });
        let worthwhile =
            |candidate: &Scenario| candidate.faults.iter().all(|fault| fault.end > fault.begin + 100);
        let candidates: Vec<_> = fewer.chain(shorter.filter(worthwhile)).collect();
        let Some(found) = candidates.into_iter().find(|candidate| failure(candidate).as_ref() == Some(&kind))
        else {
            return smallest;
        };
        smallest = found;
    }
}

fn failure(scenario: &Scenario) -> Option<&'static str> {
    run(scenario).failure.map(|failure| failure.invariant)
}
