object Account {
  sealed trait Command extends CborSerializable
  final case class Deposit(cents: Long, replyTo: ActorRef[StatusReply[Long]]) extends Command
  final case class Withdraw(cents: Long, replyTo: ActorRef[StatusReply[Long]]) extends Command

  sealed trait Event extends CborSerializable
  final case class Deposited(cents: Long) extends Event
  final case class Withdrawn(cents: Long) extends Event

  final case class State(cents: Long) extends CborSerializable

  def apply(id: String): Behavior[Command] =
    EventSourcedBehavior.withEnforcedReplies[Command, Event, State](
      persistenceId = PersistenceId("account", id),
      emptyState = State(0),
      commandHandler = handle,
      eventHandler = applyEvent)

  private val handle: (State, Command) => ReplyEffect[Event, State] = {
    case (_, Deposit(cents, replyTo)) =>
      Effect.persist(Deposited(cents)).thenReply(replyTo)(state => StatusReply.Success(state.cents))
    case (state, Withdraw(cents, replyTo)) if cents > state.cents =>
      Effect.reply(replyTo)(StatusReply.Error(s"overdrawn by ${cents - state.cents}"))
    case (_, Withdraw(cents, replyTo)) =>
      Effect.persist(Withdrawn(cents)).thenReply(replyTo)(state => StatusReply.Success(state.cents))
  }

  private val applyEvent: (State, Event) => State = {
    case (state, Deposited(cents)) => State(state.cents + cents)
    case (state, Withdrawn(cents)) => State(state.cents - cents)
  }
}
