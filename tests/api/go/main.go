// apiclient does what operators do with client-go, in protobuf where the kind has it, and says what failed.
//
// KUBECONFIG names the server. One line per check goes to standard output; the exit code is 1 when any failed.
//
// `apiclient kubelet CERTIFICATE KEY CLIENT-CA` is a node's side of the API server instead, and
// `apiclient messages PATH [PROTOCOL…]` prints what comes over a WebSocket.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	corev1 "k8s.io/api/core/v1"
)

// deadline of one check.
const deadline = 30 * time.Second

// clients is what a check may use; namespace is its own.
type clients struct {
	config    *rest.Config
	typed     kubernetes.Interface
	dynamic   dynamic.Interface
	namespace string
}

type check struct {
	name string
	run  func(ctx context.Context, c *clients) error
}

func checks() []check {
	var all []check
	for _, group := range [][]check{typedChecks, unchangedChecks, patchChecks, applyChecks, watchChecks, informerChecks, dynamicChecks, discoveryChecks, authChecks} {
		all = append(all, group...)
	}
	return all
}

func main() {
	if len(os.Args) == 5 && os.Args[1] == "kubelet" {
		fmt.Fprintln(os.Stderr, "apiclient:", kubelet(os.Args[2], os.Args[3], os.Args[4]))
		os.Exit(1)
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "apiclient: KUBECONFIG:", err)
		os.Exit(2)
	}
	if len(os.Args) > 2 && os.Args[1] == "messages" {
		if err := messages(config, os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "apiclient:", err)
			os.Exit(1)
		}
		return
	}
	config.QPS, config.Burst = -1, -1
	protobuf := rest.CopyConfig(config)
	protobuf.ContentType = "application/vnd.kubernetes.protobuf"
	protobuf.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	typed, err := kubernetes.NewForConfig(protobuf)
	if err != nil {
		fmt.Fprintln(os.Stderr, "apiclient:", err)
		os.Exit(2)
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, "apiclient:", err)
		os.Exit(2)
	}
	failed := 0
	for _, check := range checks() {
		c := &clients{protobuf, typed, untyped, "go-" + strings.ReplaceAll(check.name, "_", "-")}
		began := time.Now()
		if err := c.do(check); err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", check.name, err)
			continue
		}
		fmt.Printf("ok   %s %s\n", check.name, time.Since(began).Round(time.Millisecond))
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func (c *clients) do(check check) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}
	if _, err := c.typed.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	return check.run(ctx, c)
}

// expect gives an error unless what holds.
func expect(holds bool, format string, args ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// all runs steps until one fails.
func all(steps ...func() error) error {
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}
