// Package controllers holds small reconcilers. On every replica: connections, bindings and the routes of the API groups
// into the registry, and the CA bundle into our own APIServices. Only on the leader: the registry into status. Each decides in a pure function and acts
// in another.
//
// SysdigConnection → registry (connection.go): 1. read the connection and its Secret; 2. build a client, or say why not;
// 3. put it. Triggers: the connection's spec, the Secret.
//
// SysdigMetricBinding → registry (binding.go): 1. read the binding, its connection, its namespace, the target's resource
// and, for a Service, its selector; 2. compile; 3. put it. Triggers: the binding's spec, the connection's spec, the
// Service's selector, the namespace's labels.
//
// APIService → registry (route.go): 1. read all APIServices; 2. decide whether HPAs reach us; 3. note it. Triggers: the
// APIServices of the API groups that we serve.
//
// registry → SysdigMetricBinding status (status.go) and SysdigConnection status (connectionstatus.go): 1. read the object
// and how it stands; 2. decide the status and the Event; 3. patch within the budget (budget.go), then send the Event
// (events.go). Triggers: changes of standing, the object's spec, and the sweep (sweep.go): samples that get too old, and from
// time to time the value that is shown.
package controllers
