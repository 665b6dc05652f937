// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

func (s *story) revoke(ctx context.Context) error {
	s.out.step("Delete a connection: its tokens are revoked at the provider")
	subject := s.state.connections[codeConnection]
	if s.hold && !s.state.isReady(codeConnection) {
		s.out.say("  Connection %s was deleted or changed while you looked around and has no token now; there is nothing to show.", codeConnection)
		return nil
	}
	if subject == nil || subject.Status.AccessTokenExpiresAt == nil {
		return fmt.Errorf("connection %s holds no token that could be revoked", codeConnection)
	}
	token, expiry := s.state.token(subject.Status.SecretName), subject.Status.AccessTokenExpiresAt
	if err := s.expectActive(ctx, token, true); err != nil {
		return err
	}
	s.out.command("kubectl delete oauthconnection %s --namespace %s", codeConnection, teamNamespace)
	connection := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: teamNamespace, Name: codeConnection}}
	if err := s.client.Delete(ctx, connection); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete connection %s: %w", codeConnection, err)
	}
	err := s.await(ctx, "the end of connection crm and of its Secret", func() bool {
		return s.state.connections[codeConnection] == nil && s.state.secrets[subject.Status.SecretName] == nil &&
			s.state.happened(v1alpha1.ReasonRevoked, codeConnection)
	})
	if err != nil {
		return err
	}
	if err := s.expectActive(ctx, token, false); err != nil {
		return err
	}
	left := time.Until(expiry.Time)
	if left <= 0 {
		return fmt.Errorf("the token has expired before it could be seen that it was revoked; this machine is too slow for tokens of %s", tokenLifetime)
	}
	s.out.say("\nLeft alone, that token would have worked for %.0f more seconds. Connection and Secret are gone.", left.Seconds())
	return nil
}

// uninstall deletes both kinds, which is the first half of the uninstallation; the control plane goes as a whole.
func (s *story) uninstall(ctx context.Context) error {
	s.out.step("Delete the rest, in one go: applications wait until their connections are revoked")
	// What the reader has deleted meanwhile has told of its end by now, if there was a namespace left to tell it in.
	waiting := slices.DeleteFunc([]string{batchConnection, importing}, func(name string) bool { return s.state.connections[name] == nil })
	for _, namespace := range []string{platformNamespace, teamNamespace} {
		if err := s.deleteAll(ctx, namespace); err != nil {
			return err
		}
	}
	err := s.await(ctx, "the end of all connections and applications", func() bool {
		return len(s.state.connections) == 0 && len(s.state.applications) == 0 && len(s.state.secrets) == 0 &&
			!slices.ContainsFunc(waiting, func(name string) bool { return !s.state.happened(v1alpha1.ReasonRevoked, name) })
	})
	if err != nil {
		return err
	}
	if err := s.nothingWorks(ctx); err != nil {
		return err
	}
	return s.nothingKept(ctx)
}

// deleteAll deletes the objects of both kinds of a namespace.
func (s *story) deleteAll(ctx context.Context, namespace string) error {
	s.out.command("kubectl delete oauthapplications,oauthconnections --all --namespace %s", namespace)
	for _, all := range []client.Object{&v1alpha1.OAuthApplication{}, &v1alpha1.OAuthConnection{}} {
		if err := s.client.DeleteAllOf(ctx, all, client.InNamespace(namespace)); err != nil {
			return fmt.Errorf("delete all in %s: %w", namespace, err)
		}
	}
	return nil
}

// nothingWorks asks the OAuth server about all that it has ever issued. Earlier tokens of crm-batch are left out: a
// client's own tokens are no family, so a new one does not end the one before, which expires by itself.
func (s *story) nothingWorks(ctx context.Context) error {
	replaced := map[string]bool{}
	for _, earlier := range s.state.seen[batchConnection] {
		replaced[earlier.token] = earlier.token != s.state.token(batchConnection)
	}
	asked := 0
	for _, issued := range s.stage.provider.Issued() {
		if replaced[issued] {
			continue
		}
		asked++
		active, err := s.stage.provider.active(ctx, issued)
		if err != nil {
			return err
		}
		if active {
			return fmt.Errorf("a token still works at the OAuth server after everything was deleted")
		}
	}
	s.out.say("\nIntrospection of %d codes and tokens that the OAuth server has issued: none is active.", asked)
	return nil
}

// nothingKept looks for records in the operator's own namespace.
func (s *story) nothingKept(ctx context.Context) error {
	// The keys of gateways are the operator's, not any connection's; messages are looked at below.
	selector := fmt.Sprintf("%s,%[1]s notin (%s,%s)", v1alpha1.LabelRecord, v1alpha1.RecordKeys, v1alpha1.RecordPending)
	kept, err := labels.Parse(selector)
	if err != nil {
		return fmt.Errorf("select records: %w", err)
	}
	s.out.command("kubectl get secrets --namespace %s --selector '%s'", testenv.OperatorNamespace, selector)
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = testenv.Wait(bounded, func() error {
		var records corev1.SecretList
		err := s.client.List(ctx, &records, client.InNamespace(testenv.OperatorNamespace), client.MatchingLabelsSelector{Selector: kept})
		if count := len(records.Items); err == nil && count > 0 {
			err = fmt.Errorf("%d records are left in namespace %s", count, testenv.OperatorNamespace)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.out.say("  No resources found in %s namespace.", testenv.OperatorNamespace)
	return s.messagesEmptied(ctx)
}

// messagesEmptied shows what stays of logins: names that cannot be used twice.
func (s *story) messagesEmptied(ctx context.Context) error {
	var messages corev1.SecretList
	err := s.client.List(ctx, &messages, client.InNamespace(testenv.OperatorNamespace), client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordPending})
	if err != nil || len(messages.Items) == 0 {
		return err
	}
	s.out.command("kubectl get secrets --namespace %s --selector %s=%s", testenv.OperatorNamespace, v1alpha1.LabelRecord, v1alpha1.RecordPending)
	s.out.say("  %-48s   %-27s   DATA", "NAME", "TYPE")
	for _, message := range messages.Items {
		s.out.say("  %-48s   %-27s   %d", message.Name, message.Type, len(message.Data))
		if len(message.Data) > 0 {
			return fmt.Errorf("message %s still holds what it said", message.Name)
		}
	}
	s.out.say("\nEach login leaves an empty Secret, until its answer could not be sent a second time any more.")
	return nil
}

// measure prints what the operator has counted.
func (s *story) measure(ctx context.Context) error {
	s.out.step("What Prometheus would have seen")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.stage.operator.metricsURL, nil)
	if err != nil {
		return fmt.Errorf("read metrics: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("read metrics: %w", err)
	}
	defer response.Body.Close()
	found := false
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "oauth_operator_provider_calls_total{") {
			s.out.say("  %s", lines.Text())
			found = true
		}
	}
	if !found {
		return fmt.Errorf("the operator has no metric oauth_operator_provider_calls_total")
	}
	return nil
}
