# My compute, and what leads of projects do there.
end-lead = ended by { $lead }, who answers for the project
