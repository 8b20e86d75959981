// Command generate prints the facts of Kubernetes' API types as one text table.
//
// In: the Go packages of k8s.io/api and its siblings at the versions go.mod names, read through go/types.
// Out, on stdout: the table whose form src/apimachinery/schema/parse.rs describes: names, numbers, types and
// markers, never a sentence of documentation.
package main

import (
	"bufio"
	"fmt"
	"os"
)

// The packages whose kinds v1.35 can serve, or that its requests and answers are made of.
var packageList = []string{
	"k8s.io/api/admission/v1",
	"k8s.io/api/admissionregistration/v1",
	"k8s.io/api/admissionregistration/v1alpha1",
	"k8s.io/api/admissionregistration/v1beta1",
	"k8s.io/api/apidiscovery/v2",
	"k8s.io/api/apidiscovery/v2beta1",
	"k8s.io/api/apiserverinternal/v1alpha1",
	"k8s.io/api/apps/v1",
	"k8s.io/api/authentication/v1",
	"k8s.io/api/authorization/v1",
	"k8s.io/api/autoscaling/v1",
	"k8s.io/api/autoscaling/v2",
	"k8s.io/api/batch/v1",
	"k8s.io/api/certificates/v1",
	"k8s.io/api/certificates/v1alpha1",
	"k8s.io/api/certificates/v1beta1",
	"k8s.io/api/coordination/v1",
	"k8s.io/api/coordination/v1alpha2",
	"k8s.io/api/coordination/v1beta1",
	"k8s.io/api/core/v1",
	"k8s.io/api/discovery/v1",
	"k8s.io/api/events/v1",
	"k8s.io/api/flowcontrol/v1",
	"k8s.io/api/networking/v1",
	"k8s.io/api/networking/v1beta1",
	"k8s.io/api/node/v1",
	"k8s.io/api/policy/v1",
	"k8s.io/api/rbac/v1",
	"k8s.io/api/resource/v1",
	"k8s.io/api/resource/v1alpha3",
	"k8s.io/api/resource/v1beta1",
	"k8s.io/api/resource/v1beta2",
	"k8s.io/api/scheduling/v1",
	"k8s.io/api/scheduling/v1alpha1",
	"k8s.io/api/storage/v1",
	"k8s.io/api/storage/v1alpha1",
	"k8s.io/api/storage/v1beta1",
	"k8s.io/api/storagemigration/v1beta1",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1",
	"k8s.io/apimachinery/pkg/apis/meta/v1",
	"k8s.io/apimachinery/pkg/version",
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1",
}

// Types that no kind leads to.
var extraRoots = []string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.WatchEvent",
	"k8s.io/apimachinery/pkg/version.Info",
}

const kubernetesVersion = "v1.35.0"

func main() {
	table, err := load()
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
	if err := run(table, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run writes the schema table, or the texts, or compares a file of texts with what they are today.
func run(table *table, args []string) error {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	switch {
	case len(args) == 0:
		table.print(out)
		return nil
	case args[0] == "texts":
		return table.packTexts(out)
	case args[0] == "same-texts" && len(args) == 2:
		return table.compareTexts(args[1])
	}
	return fmt.Errorf("unknown arguments %q", args)
}
