"""Learner outcome: will this enrolment end in Fail or Withdrawn, asked on a day of the course?"""
