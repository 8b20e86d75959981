package main

import (
	"context"
	"fmt"
	"reflect"

	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"
)

var dynamicChecks = []check{
	{"dynamic_crud", dynamicCrud},
}

var discoveryChecks = []check{
	{"discovery_aggregated", discoveryAggregated},
	{"rest_mapper", restMapper},
	{"openapi", openAPI},
	{"openapi_v3_protobuf", openAPIV3InProtobuf},
	{"server_version", serverVersion},
}

var authChecks = []check{
	{"token_of_service_account", tokenOfServiceAccount},
	{"impersonation", impersonation},
}

func dynamicCrud(ctx context.Context, c *clients) error {
	roles := c.dynamic.Resource(rbacv1.SchemeGroupVersion.WithResource("roles")).Namespace(c.namespace)
	role := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": map[string]any{"name": "r"},
		"rules": []any{map[string]any{"apiGroups": []any{""}, "resources": []any{"pods"}, "verbs": []any{"get"}}},
	}}
	made, err := roles.Create(ctx, role, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if _, err = roles.Patch(ctx, "r", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
		return err
	}
	list, err := roles.List(ctx, metav1.ListOptions{LabelSelector: "a=b"})
	if err != nil {
		return err
	}
	if len(list.Items) != 1 || list.Items[0].GetUID() != made.GetUID() {
		return fmt.Errorf("%+v", list)
	}
	applied, err := roles.Apply(ctx, "r", &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": map[string]any{"name": "r", "labels": map[string]any{"c": "d"}},
	}}, metav1.ApplyOptions{FieldManager: "go"})
	if err != nil {
		return err
	}
	if applied.GetLabels()["a"] != "b" || applied.GetLabels()["c"] != "d" {
		return fmt.Errorf("labels %v", applied.GetLabels())
	}
	return roles.Delete(ctx, "r", metav1.DeleteOptions{})
}

func discoveryAggregated(ctx context.Context, c *clients) error {
	client, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return err
	}
	groups, resources, failed, err := client.GroupsAndMaybeResources()
	if err != nil || len(failed) > 0 {
		return fmt.Errorf("%v %v", err, failed)
	}
	if resources == nil || len(groups.Groups) < 20 {
		return fmt.Errorf("not aggregated: %d groups", len(groups.Groups))
	}
	legacy := client.WithLegacy()
	_, lists, err := legacy.ServerGroupsAndResources()
	if err != nil {
		return err
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return err
		}
		// Aggregated discovery gives subresources as client-go turns them: the same names.
		if other := resources[gv]; other == nil || len(other.APIResources) != len(list.APIResources) {
			return fmt.Errorf("%s: the forms differ", gv)
		}
	}
	return nil
}

func restMapper(ctx context.Context, c *clients) error {
	client, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return err
	}
	mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client)), client, nil)
	for short, want := range map[string]string{"deploy": "apps/v1, Resource=deployments", "svc": "/v1, Resource=services", "hpa": "autoscaling/v2, Resource=horizontalpodautoscalers"} {
		found, err := mapper.ResourceFor(schema.GroupVersionResource{Resource: short})
		if err != nil {
			return err
		}
		if found.String() != want {
			return fmt.Errorf("%s is %s", short, found)
		}
	}
	return nil
}

func openAPI(ctx context.Context, c *clients) error {
	client, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return err
	}
	document, err := client.OpenAPISchema()
	if err != nil {
		return err
	}
	paths, err := client.OpenAPIV3().Paths()
	if err != nil {
		return err
	}
	apps, ok := paths["apis/apps/v1"]
	if !ok {
		return fmt.Errorf("no apps/v1 in %d documents", len(paths))
	}
	bytes, err := apps.Schema("application/json")
	if err != nil {
		return err
	}
	return expect(len(document.Definitions.AdditionalProperties) > 500 && len(bytes) > 10_000, "%d definitions, %d bytes", len(document.Definitions.AdditionalProperties), len(bytes))
}

// openAPIV3InProtobuf holds the two forms of a document against each other, read by upstream's parsers.
func openAPIV3InProtobuf(_ context.Context, c *clients) error {
	paths, err := c.typed.Discovery().OpenAPIV3().Paths()
	if err != nil {
		return err
	}
	for _, path := range []string{"api/v1", "apis/apps/v1", "apis/apiextensions.k8s.io/v1"} {
		text, err := paths[path].Schema(runtime.ContentTypeJSON)
		if err != nil {
			return err
		}
		wanted, err := openapi_v3.ParseDocument(text)
		if err != nil {
			return err
		}
		bytes, err := paths[path].Schema("application/com.github.proto-openapi.spec.v3@v1.0+protobuf")
		if err != nil {
			return err
		}
		var got openapi_v3.Document
		if err := proto.Unmarshal(bytes, &got); err != nil {
			return err
		}
		both := [2]any{}
		for i, document := range []*openapi_v3.Document{wanted, &got} {
			// What is of any type is text in YAML, in which a value has several forms.
			text, err := document.YAMLValue("")
			if err != nil {
				return err
			}
			if err := yaml.Unmarshal(text, &both[i]); err != nil {
				return err
			}
		}
		if !reflect.DeepEqual(both[0], both[1]) {
			return fmt.Errorf("%s: JSON and protobuf differ", path)
		}
	}
	return nil
}

func serverVersion(ctx context.Context, c *clients) error {
	version, err := c.typed.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	return expect(version.Major == "1" && version.Minor == "35", "%+v", version)
}

func tokenOfServiceAccount(ctx context.Context, c *clients) error {
	accounts := c.typed.CoreV1().ServiceAccounts(c.namespace)
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	token, err := accounts.CreateToken(ctx, "robot", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = token.Status.Token
	config.ContentType = c.config.ContentType
	robot, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	who, err := robot.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("system:serviceaccount:%s:robot", c.namespace)
	if who.Status.UserInfo.Username != name {
		return fmt.Errorf("the token is %+v", who.Status.UserInfo)
	}
	if _, err := robot.CoreV1().ConfigMaps(c.namespace).List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		return fmt.Errorf("without a role: %v", err)
	}
	roleBinding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "view"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "robot", Namespace: c.namespace}},
	}
	if _, err := c.typed.RbacV1().RoleBindings(c.namespace).Create(ctx, roleBinding, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := robot.CoreV1().ConfigMaps(c.namespace).List(ctx, metav1.ListOptions{}); err != nil {
		return err
	}
	if _, err := robot.CoreV1().Secrets(c.namespace).List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		return fmt.Errorf("view may read secrets: %v", err)
	}
	review, err := robot.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: c.namespace, Verb: "watch", Resource: "pods"}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return expect(review.Status.Allowed, "%+v", review.Status)
}

func impersonation(ctx context.Context, c *clients) error {
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "jane", Groups: []string{"dev"}, Extra: map[string][]string{"team": {"a"}}}
	jane, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	who, err := jane.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if who.Status.UserInfo.Username != "jane" || who.Status.UserInfo.Extra["team"][0] != "a" {
		return fmt.Errorf("%+v", who.Status.UserInfo)
	}
	_, err = jane.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{})
	want := fmt.Sprintf(`pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace %q`, c.namespace)
	return expect(apierrors.IsForbidden(err) && err.Error() == want, "%v", err)
}
