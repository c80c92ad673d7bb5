use std::time::Duration;

use crate::downing::Downing;

/// How a node takes part in its cluster. The defaults are safe in production.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Clusters of other names are refused at the door.
    pub cluster_name: String,
    /// How often the driver calls with [`Input::Tick`](crate::Input::Tick). Default 100 ms.
    pub tick: Duration,
    /// How often a node gossips; three times as often while less than half have seen the state. Default 1 s.
    pub gossip_interval: Duration,
    /// Without a convergence for so long, joining members become weakly up. Default 7 s.
    pub weakly_up_after: Duration,
    /// A tick that is later than this tells that the node was suspended. Default 1.5 s.
    pub suspended_after: Duration,
    /// Heartbeats.
    pub detector: DetectorSettings,
    /// What becomes of unreachable members.
    pub downing: Downing,
    /// How a cluster begins.
    pub forming: FormingSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster_name: "annals".to_owned(),
            tick: Duration::from_millis(100),
            gossip_interval: Duration::from_secs(1),
            weakly_up_after: Duration::from_secs(7),
            suspended_after: Duration::from_millis(1_500),
            detector: DetectorSettings::default(),
            downing: Downing::default(),
            forming: FormingSettings::default(),
        }
    }
}

/// How silence becomes suspicion.
#[derive(Debug, Clone)]
pub struct DetectorSettings {
    /// By how many members each is observed. Default 9.
    pub observers: usize,
    /// Default 1 s.
    pub heartbeat_interval: Duration,
    /// Silence beyond the usual that is put up with, such as that of a long pause. Default 3 s.
    pub acceptable_pause: Duration,
    /// However steady the pulse: no finer than this. Default 100 ms.
    pub least_deviation: Duration,
    /// Suspicion from which others are asked: -1,000 · log10 of the chance to be wrong. Default 8,000.
    pub threshold_milli: u64,
    /// Intervals that are remembered of each. Default 200.
    pub samples: usize,
    /// How many others are asked whether they reach a suspect. Default 3.
    pub helpers: usize,
    /// How long they may take. Default 1 s.
    pub confirm_within: Duration,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            observers: 9,
            heartbeat_interval: Duration::from_secs(1),
            acceptable_pause: Duration::from_secs(3),
            least_deviation: Duration::from_millis(100),
            threshold_milli: 8_000,
            samples: 200,
            helpers: 3,
            confirm_within: Duration::from_secs(1),
        }
    }
}

/// How a cluster begins.
#[derive(Debug, Clone)]
pub struct FormingSettings {
    /// How many contact points there are: the length of a static list, or what the operator says of a discovery. A cluster is formed
    /// by a majority of them. `None`: this node never forms one.
    pub contact_points: Option<usize>,
    /// The operator's way out: form without a majority.
    pub form: bool,
    /// How long a node looks for a cluster before it asks for votes. Default 2 s.
    pub look_for: Duration,
    /// How long a vote binds. Default 10 s.
    pub vote_window: Duration,
    /// How often contact points are asked. Default 1 s.
    pub ask_interval: Duration,
}

impl Default for FormingSettings {
    fn default() -> Self {
        Self {
            contact_points: None,
            form: false,
            look_for: Duration::from_secs(2),
            vote_window: Duration::from_secs(10),
            ask_interval: Duration::from_secs(1),
        }
    }
}
