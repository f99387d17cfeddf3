# 公告：拒絕的說明與周邊用語。
announcement-unknown = announcement：沒有公告 { $announcement }，或它不是給您的。請從清單查看現有的公告。
announcement-two = programme：公告可以給一個計畫或一位使用者，不能同時給兩者。請刪去其中一項。
announcement-no-user = user：關於租約的訊息只能給持有該租約的使用者。請指明使用者，或不要填租約。
announcement-no-holder = 使用者「{ $user }」目前沒有持有租約「{ $lease }」：它已結束，或屬於別人。沒有發布任何公告；請確認持有者，或不要填租約。
announcement-dismiss = 不再顯示
announcement-info = 通知：
announcement-warning = 注意：
announcement-urgent = 緊急：
announcements-title = 公告
