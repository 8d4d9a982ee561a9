package node_test

import (
	"os"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/node"
)

func TestMain(m *testing.M) { os.Exit(node.Run(m, os.Stderr)) }

func TestProbe(t *testing.T) {
	node.Require(t)
	t.Log(os.Getpid())
}
