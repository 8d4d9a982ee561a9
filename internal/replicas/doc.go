// Package replicas tells how many replicas of the operator are alive and which of them this one is, so that together they stay
// inside one request budget and ask at different times. Each replica keeps a Lease of its own and watches those of the others:
// one update per renewEvery and replica, and nothing else while nobody comes or goes.
//
// A doubt is resolved towards more replicas, which means fewer requests: a lease counts when it is first seen, whenever it was
// renewed, and no lease expires while this replica cannot see its own renewals come back.
package replicas
