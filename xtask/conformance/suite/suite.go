// Package suite pins upstream's end-to-end tests: `go test -c k8s.io/kubernetes/test/e2e`
// from this directory builds them.
package suite

import (
	_ "k8s.io/kubernetes/test/e2e"
)
