package v1alpha1

// Condition types. All are positive: True is the healthy state.
const (
	// ConditionAccepted tells whether the spec could be turned into a question to Sysdig. False means that a human has to
	// change something (the message says what); the metric then answers an error and the HPA leaves the replicas alone.
	// Always present once the object was seen.
	ConditionAccepted = "Accepted"

	// ConditionReady tells whether a number is being served right now. On a binding: a fresh value is there. On a
	// connection: the last round of questions was answered. Always present once the object was seen.
	ConditionReady = "Ready"

	// ConditionWithinQuota tells, on a connection, whether the quota carries spec.interval. False means that all queries are
	// asked less often. Present once anything was asked.
	ConditionWithinQuota = "WithinQuota"

	// ConditionPlausible tells, on a connection, whether what Sysdig says is believed. False means that the values of many
	// bindings have vanished or become 0 together; these bindings answer errors until spec.massAnomaly.hold has passed. Present
	// once anything was asked.
	ConditionPlausible = "Plausible"

	// ConditionClockInStep tells, on a connection, whether Sysdig's clock and the operator's agree. False means that they are 5
	// seconds or more apart; the operator corrects for it. Present once Sysdig has told its time.
	ConditionClockInStep = "ClockInStep"

	// ConditionCredentialReady tells, on a connection, whether Sysdig accepts the token. Unknown until it was used. A failure that
	// says nothing about the token leaves it as it was.
	ConditionCredentialReady = "CredentialReady"

	// ConditionClusterSeen tells, on a connection with a clusterName, whether Sysdig has anything of that cluster. False lists the
	// clusters that it has. Present once that is known.
	ConditionClusterSeen = "ClusterSeen"
)

// Reasons of conditions in their True state. The reasons of a False state are the vocabulary of internal/metric, which
// errors, Events and metric labels share.
const (
	// ReasonAccepted is the reason of Accepted=True.
	ReasonAccepted = "Accepted"
	// ReasonServing is the reason of Ready=True on a binding: a fresh value is served.
	ReasonServing = "Serving"
	// ReasonConnected is the reason of Ready=True on a connection: Sysdig answered the last round.
	ReasonConnected = "Connected"
	// ReasonWithinQuota is the reason of WithinQuota=True.
	ReasonWithinQuota = "WithinQuota"
	// ReasonPlausible is the reason of Plausible=True.
	ReasonPlausible = "Plausible"

	// ReasonValid is the reason of CredentialReady=True. Those of False are Missing, HostNotListed, Malformed, Refused, Expired,
	// NoPermission, WrongTeam and WrongRegion.
	ReasonValid = "Valid"

	// ReasonSeen is the reason of ClusterSeen=True.
	ReasonSeen = "Seen"
	// ReasonClusterUnknown is the reason of ClusterSeen=False.
	ReasonClusterUnknown = "ClusterUnknown"

	// ReasonInStep is the reason of ClockInStep=True.
	ReasonInStep = "InStep"
	// ReasonClockSkew is the reason of ClockInStep=False. It is no failure: values are served.
	ReasonClockSkew = "ClockSkew"
)
