// SPDX-License-Identifier: Apache-2.0

package directory

import "github.com/oauth-operator/oauth-operator/api/v1alpha1"

// Statuses, as lists show and filter them.
const (
	// StatusActive is that of a connection whose grant is held, and of an application that is in use.
	StatusActive = "active"
	// StatusInactive is that of every other connection.
	StatusInactive = "inactive"
	// StatusDeleted is that of an application which is being deleted, or which the provider has deleted.
	StatusDeleted = "deleted"
)

// Status returns the status of a connection: active in phase Active unless it is being deleted, else inactive.
func Status(connection *v1alpha1.OAuthConnection) string {
	if connection.Status.Phase == v1alpha1.ConnectionActive && connection.DeletionTimestamp == nil {
		return StatusActive
	}
	return StatusInactive
}

// ApplicationStatus returns the status of an application: deleted or active.
func ApplicationStatus(application *v1alpha1.OAuthApplication) string {
	if application.Status.Phase == v1alpha1.ApplicationDeleted || application.DeletionTimestamp != nil {
		return StatusDeleted
	}
	return StatusActive
}

// status is a status as one bit, so that a set of them is a number too.
type status uint8

const anyStatus = ^status(0)

func statusOf(texts ...string) (set status) {
	for _, text := range texts {
		switch text {
		case StatusActive:
			set |= 1
		case StatusInactive:
			set |= 2
		case StatusDeleted:
			set |= 4
		}
	}
	return set
}

func applicationItem(application *v1alpha1.OAuthApplication) item[v1alpha1.OAuthApplication] {
	return item[v1alpha1.OAuthApplication]{
		created: application.CreationTimestamp.Unix(), uid: application.UID, object: application,
		status: statusOf(ApplicationStatus(application)),
	}
}
