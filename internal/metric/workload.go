package metric

// Workload is what owns pods, as Sysdig tells it: a type in lower case such as deployment, and a name. It is comparable. The
// zero Workload is that of pods that nobody owns whom Sysdig names.
type Workload struct{ Type, Name string }
