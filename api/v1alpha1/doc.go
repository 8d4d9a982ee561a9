// Package v1alpha1 is what users write and read: a SysdigMetricBinding says which Sysdig metric describes which
// Kubernetes object, a SysdigConnection says how to reach one Sysdig Monitor team.
//
// What can be refused early is refused by the schema and the CEL rules here, with a message that names the field and the
// cure. What needs other objects (the connection, the target, the PromQL parser) ends up in the Accepted condition.
//
// +kubebuilder:object:generate=true
// +groupName=autoscaling.sysdigmetrics.dev
package v1alpha1
