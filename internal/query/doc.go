// Package query is pure: it compiles a binding into what to ask Sysdig and under which name to serve the answer
// (Compile), merges what many bindings ask into few requests (Plan), and turns answers back into readings (Request.Read).
//
// The words that travel: a Shape is everything of a question that has to be equal for two bindings to share one request;
// a View picks one number out of the answer to a shape; a Question is both, and what one binding asks. A shape answers
// for a whole kind of object: bindings that differ only in namespace, object or pods are views on one answer.
package query
