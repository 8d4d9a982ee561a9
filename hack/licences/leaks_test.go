package main

import (
	"os"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/leaks"
)

func TestMain(m *testing.M) { os.Exit(leaks.Run(m.Run)) }
